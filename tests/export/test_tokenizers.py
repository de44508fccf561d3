"""A bundle's token ids are those of transformers' AutoTokenizer for the same directory, or the export says why not."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from embedge import CheckpointError, Embedder
from embedge.manifest import TokenizerFacts
from embedge.tokenizer import Tokenizer as BundleTokenizer
from embedge_export import export
from embedge_export.checkpoint.tokenizer import load_tokenizer
from tests.cases import MakeCheckpoint

VOCABULARY = 40_000
IDS = {"[CLS]": 101, "[SEP]": 102}
Files = dict[str, Any]
Write = Callable[[str, Files], Path]

TOKEN = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": False}
CAPITALS = {"normalizer": {"lowercase": False}}
BERT = {"tokenizer_class": "BertTokenizer"}
ROBERTA = {"tokenizer_class": "RobertaTokenizer"}
LEGACY = {"bos_token": "[CLS]", "mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": False}}
DECODER = {
    "101": {**TOKEN, "content": "[CLS]", "special": True},
    "103": {**TOKEN, "content": "[MASK]", "lstrip": True, "special": True},
    "30522": {**TOKEN, "content": "harbour-pilot"},
    "30523": {**TOKEN, "content": "Ⅷ<x>", "rstrip": True},
}
CONVENTIONAL = ["bert", "distilbert", "electra", "mpnet", "convbert", "mobilebert", "squeezebert"]

CASES: dict[str, tuple[str, Files]] = {
    "nothing beside it": ("bert", {}),
    "nothing beside it, and its own case": ("bert", {"tokenizer.json": CAPITALS}),
    **{
        f"model type {kind}": ("bert", {"tokenizer.json": CAPITALS, "config.json": {"model_type": kind}})
        for kind in CONVENTIONAL
    },
    "class in config.json": (
        "bert",
        {"tokenizer.json": CAPITALS, "config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}},
    ),
    "do_lower_case false": ("bert", {"tokenizer_config.json": {**BERT, "do_lower_case": False}}),
    "do_lower_case true": (
        "bert",
        {"tokenizer.json": CAPITALS, "tokenizer_config.json": {**BERT, "do_lower_case": True}},
    ),
    "accents kept": ("bert", {"tokenizer_config.json": {**BERT, "strip_accents": False}}),
    "accents stripped of capitals": (
        "bert",
        {"tokenizer_config.json": {**BERT, "do_lower_case": False, "strip_accents": True}},
    ),
    "Chinese in one": ("bert", {"tokenizer_config.json": {**BERT, "tokenize_chinese_chars": False}}),
    "Chinese in one, MPNet": (
        "bert",
        {"tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer", "tokenize_chinese_chars": False}},
    ),
    "a BERT's settings of another class": (
        "bert",
        {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}},
    ),
    "added_tokens_decoder": ("bert", {"tokenizer_config.json": {**BERT, "added_tokens_decoder": DECODER}}),
    "other flags of a special token": (
        "bert",
        {
            "tokenizer_config.json": {
                **BERT,
                "added_tokens_decoder": {"103": {**DECODER["103"], "normalized": True, "rstrip": True}},
            }
        },
    ),
    "added_tokens.json": (
        "bert",
        {"tokenizer_config.json": BERT, "added_tokens.json": {"harbour": 30522, "<X>": 30523, "Überfahrt": 30524}},
    ),
    "special_tokens_map.json": (
        "bert",
        {
            "tokenizer_config.json": {**BERT, "mask_token": "[UNK]"},
            "special_tokens_map.json": {
                **LEGACY,
                "additional_special_tokens": ["<S1>", {"content": "<s2>", "rstrip": True}],
            },
        },
    ),
    "both maps": (
        "bert",
        {"tokenizer_config.json": {**BERT, "added_tokens_decoder": DECODER}, "special_tokens_map.json": LEGACY},
    ),
    "typed tokens": (
        "bert",
        {
            "tokenizer_config.json": {
                **BERT,
                "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True},
            }
        },
    ),
    "more special tokens": (
        "bert",
        {
            "tokenizer_config.json": {
                **BERT,
                "additional_special_tokens": ["<first>", "<Second>"],
                "extra_special_tokens": {"image_token": "<image>"},
            }
        },
    ),
    "mask of an MPNet": (
        "bert",
        {"tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer", "mask_token": "[MASK]"}},
    ),
    "padding and truncation": (
        "bert",
        {
            "tokenizer.json": {
                "truncation": {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0},
                "padding": {
                    "strategy": "BatchLongest",
                    "direction": "Left",
                    "pad_to_multiple_of": None,
                    "pad_id": 0,
                    "pad_type_id": 0,
                    "pad_token": "<padding>",
                },
            },
            "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        },
    ),
    "truncation_side left": ("bert", {"tokenizer_config.json": {**BERT, "truncation_side": "left"}}),
    "harmless fields": (
        "bert",
        {
            "tokenizer_config.json": {
                **BERT,
                "never_split": None,
                "do_basic_tokenize": True,
                "padding_side": "left",
                "clean_text": False,
                "clean_up_tokenization_spaces": True,
                "name_or_path": "x",
                "special_tokens_map_file": "/y",
                "a": 1,
                "model_max_length": 512,
                "max_len": 512,
                "cls_token_id": 7,
                "unk_token": "[UNK]",
                "auto_map": {},
            }
        },
    ),
    "RoBERTa": ("bytes", {"tokenizer_config.json": ROBERTA}),
    "RoBERTa with spaces in front": ("bytes", {"tokenizer_config.json": {**ROBERTA, "add_prefix_space": True}}),
    "RoBERTa without": ("spaced bytes", {"tokenizer_config.json": {**ROBERTA, "add_prefix_space": False}}),
    "RoBERTa that does not say": ("spaced bytes", {"tokenizer_config.json": {**ROBERTA, "trim_offsets": False}}),
    "RoBERTa by its model type": ("spaced bytes", {"config.json": {"model_type": "roberta"}}),
    "RoBERTa of no class": ("spaced bytes", {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}),
    "ModernBERT": ("spaced bytes", {"config.json": {"model_type": "modernbert"}}),
    "Longformer": ("bytes", {"tokenizer_config.json": {"tokenizer_class": "LongformerTokenizer"}}),
    "DeBERTa": (
        "bytes",
        {"tokenizer_config.json": {"tokenizer_class": "DebertaTokenizer", "cls_token": "<s>", "sep_token": "</s>"}},
    ),
    "XLM-R": ("pieces", {"config.json": {"model_type": "xlm-roberta"}}),
    "XLM-R's mask": (
        "pieces",
        {"tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizerFast", "mask_token": "<mask>"}},
    ),
    "XLM-R with spaces in front": (
        "pieces",
        {"tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer", "add_prefix_space": False}},
    ),
    "CamemBERT": ("pieces", {"config.json": {"model_type": "camembert"}}),
    "ALBERT": (
        "pieces",
        {"tokenizer_config.json": {"tokenizer_class": "AlbertTokenizer", "do_lower_case": True, "keep_accents": False}},
    ),
    "DeBERTa v2": (
        "pieces",
        {
            "tokenizer_config.json": {
                "tokenizer_class": "DebertaV2Tokenizer",
                "split_by_punct": True,
                "do_lower_case": True,
            }
        },
    ),
    "RemBERT": ("pieces", {"config.json": {"model_type": "rembert"}}),
    "BigBird": ("pieces", {"config.json": {"model_type": "big_bird"}}),
    "vocab.txt": ("words", {}),
    "vocab.txt with capitals": (
        "words",
        {"tokenizer_config.json": {**BERT, "do_lower_case": False, "do_basic_tokenize": True, "never_split": ["a"]}},
    ),
    "vocab.txt and added tokens": (
        "words",
        {
            "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer", "strip_accents": False},
            "added_tokens.json": {"harbour": 30522},
        },
    ),
}
"""Kinds of directories: the tokenizer, and the fields of the files beside it."""

HOSTILE = [
    *[
        "",
        " ",
        "\t\n",
        "a",
        "A",
        "ÄÖÜ äöü ß ẞ",
        "Élan vital, naïve façade",
        "e\u0301le\u0300ve",
        "İstanbul ISTANBUL ıi",
    ],
    *[
        "東京の夜は静かだ",
        "北京 欢迎你 abc中def",
        "안녕하세요",
        "👩🏽‍🚀🚀 lands",
        "𝔘𝔫𝔦 \U00020000",
        "שלום مرحبا",
        "ﬁ ½ Ⅷ ㎏",
    ],
    *["\0null\0", "\x01\x02\x7f\x85", "\u200b\ufeffzero\u200d", "a\u00a0b\u3000c\u2028d", "\u0301\u0302", "\ufffd"],
    *[" leading", "trailing ", "  both  ", "two  spaces", "tab\tand\nline", "ends\n", "don't can't I'M", "a.b,c!d?e"],
    *[
        "[CLS] a [MASK] b [SEP] [PAD] [UNK]",
        "x[MASK]y",
        "[mask] [Mask]",
        " [MASK] ",
        "a  [MASK]",
        "[CLS][CLS]",
        "[MASK",
    ],
    *[
        "<s> a <mask> b </s> <pad> <unk>",
        "x<mask>y",
        "<MASK> <S>",
        "  <mask>  ",
        "<mask><mask>",
        "a <mask>",
        "<s>NOTUSED",
    ],
    *[
        "harbour",
        "HARBOUR",
        "harbour-pilot",
        "xharbour-pilotx",
        "Überfahrt überfahrt",
        "uberfahrt",
        "Ⅷ<x>  y",
        "<X> <x>",
    ],
    *[
        "<first><Second>",
        "<S1>x<s2>  y",
        "<second>",
        "<image>",
        "<padding>",
        "a<padding>b",
        "word " * 40,
        "x" * 300,
        "#" * 9,
    ],
]


def hostile(passages: Sequence[str]) -> list[str]:
    """A few hundred texts that tokenizers trip over."""
    pairs = [f"{a}{b}" for a, b in zip(HOSTILE, HOSTILE[7:], strict=False)]
    return [*HOSTILE, *pairs, *passages[:60], *(passage.upper() for passage in passages[60:120])]


@pytest.fixture(scope="module")
def tokenizers(minilm: Path, passages: list[str]) -> dict[str, Any]:
    """``tokenizer.json`` of each kind."""
    tokenizer = json.loads((minilm / "tokenizer.json").read_text())
    return {
        "bert": {**tokenizer, "padding": None, "truncation": None},
        "bytes": byte_pairs(passages, spaced=False),
        "spaced bytes": byte_pairs(passages, spaced=True),
        "pieces": unigram(passages),
    }


@pytest.fixture
def write(tmp_path: Path, minilm: Path, tokenizers: dict[str, Any]) -> Write:
    """Writes the directory of a case; the fields of its JSON files are put over those of a plain BERT."""

    def put(kind: str, files: Files) -> Path:
        directory = tmp_path / "checkpoint"
        directory.mkdir()
        everything: Files = {"config.json": {"model_type": "bert"}}
        if kind == "words":
            shutil.copy(minilm / "vocab.txt", directory)
        else:
            everything["tokenizer.json"] = tokenizers[kind]
        for name in {**everything, **files}:
            fields = dict(everything.get(name, {}))
            for field, value in files.get(name, {}).items():
                merge = isinstance(value, dict) and isinstance(fields.get(field), dict)
                fields[field] = {**fields[field], **value} if merge else value
            (directory / name).write_text(json.dumps(fields), encoding="utf-8")
        return directory

    return put


def byte_pairs(passages: Sequence[str], *, spaced: bool) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(passages, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=spaced)
    return json.loads(tokenizer.to_str())


def unigram(passages: Sequence[str]) -> Any:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=800, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(passages, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 0), ("</s>", 2)])
    return json.loads(tokenizer.to_str())


EXPECTED: dict[str, tuple[str, list[str]]] = {
    "nothing beside it, and its own case": ("Élan HAT", ["[CLS]", "el", "##an", "hat", "[SEP]"]),
    "do_lower_case false": ("Élan hat HAT", ["[CLS]", "[UNK]", "hat", "[UNK]", "[SEP]"]),
    "accents kept": ("naïve hat", ["[CLS]", "[UNK]", "hat", "[SEP]"]),
    "accents stripped of capitals": ("naïve Hat", ["[CLS]", "naive", "[UNK]", "[SEP]"]),
    "Chinese in one": ("北京 hat", ["[CLS]", "北", "##京", "hat", "[SEP]"]),
    "Chinese in one, MPNet": ("北京 hat", ["[CLS]", "北", "京", "hat", "[SEP]"]),
    "class in config.json": ("Hat hat", ["[CLS]", "[UNK]", "hat", "[SEP]"]),
    "a BERT's settings of another class": ("Hat", ["[CLS]", "hat", "[SEP]"]),
    "added_tokens_decoder": ("xharbour-pilotx [MASK]", ["[CLS]", "x", "harbour-pilot", "x", " [MASK]", "[SEP]"]),
    "other flags of a special token": ("[mask] [MASK] x", ["[CLS]", "[", "mask", "]", " [MASK] ", "x", "[SEP]"]),
    "added_tokens.json": ("xharbourx <X>", ["[CLS]", "x", "harbour", "x", "<x>", "[SEP]"]),
    "special_tokens_map.json": ("a<S1><s2> b", ["[CLS]", "a", "<S1>", "<s2> ", "b", "[SEP]"]),
    "more special tokens": ("a<first><Second><image>", ["[CLS]", "a", "<first>", "<Second>", "<image>", "[SEP]"]),
    "padding and truncation": ("a<padding>b", ["[CLS]", "a", "<padding>", "b", "[SEP]"]),
    "RoBERTa": ("the <mask>", ["<s>", "t", "he", " <mask>", "</s>"]),
    "RoBERTa with spaces in front": ("the", ["<s>", "Ġthe", "</s>"]),
    "RoBERTa that does not say": ("the", ["<s>", "t", "he", "</s>"]),
    "ModernBERT": ("the <mask>", ["<s>", "t", "he", "Ġ", "<mask>", "</s>"]),
    "XLM-R": ("a the <s>x", ["<s>", "▁a", "▁the", "▁", "<s>", "▁", "x", "</s>"]),
    "CamemBERT": ("<s>NOTUSED", ["<s>", "<s>NOTUSED", "</s>"]),
    "vocab.txt": ("Élan [MASK] 北京", ["[CLS]", "el", "##an", "[MASK]", "北", "京", "[SEP]"]),
    "vocab.txt with capitals": ("Hat hat", ["[CLS]", "[UNK]", "hat", "[SEP]"]),
    "vocab.txt and added tokens": ("xharbourx naïve", ["[CLS]", "x", "harbour", "x", "[UNK]", "[SEP]"]),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_what_stands_beside_the_tokenizer_is_applied(write: Write, case: str) -> None:
    text, expected = EXPECTED[case]
    tokenizer, _ = load_tokenizer(write(*CASES[case]), VOCABULARY, lower_case=False)
    assert Tokenizer.from_str(tokenizer).encode(text).tokens == expected


def test_a_tokenizer_that_nothing_changes_stays_as_it_is(minilm: Path) -> None:
    text, _ = load_tokenizer(minilm, 30522, lower_case=False)
    own = json.loads((minilm / "tokenizer.json").read_text())
    assert json.loads(text) == {**own, "padding": None, "truncation": None}


REFUSED: dict[str, Files] = {
    "tokenizer_config.json: do_lower_case is 'yes'": {"tokenizer_config.json": {**BERT, "do_lower_case": "yes"}},
    "tokenizer_config.json: do_lower_case is None": {"tokenizer_config.json": {**BERT, "do_lower_case": None}},
    "tokenizer_config.json: add_prefix_space is 1": {"tokenizer_config.json": {**BERT, "add_prefix_space": 1}},
    "tokenizer_config.json: truncation_side is 'middle'": {"tokenizer_config.json": {"truncation_side": "middle"}},
    "tokenizer_config.json: tokenizer_class 'BertJapaneseTokenizer'": {
        "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}
    },
    "config.json: tokenizer_class 'OwnTokenizer'": {"config.json": {"tokenizer_class": "OwnTokenizer"}},
    "config.json: model_type 'own'": {"config.json": {"model_type": "own"}},
    "tokenizer_config.json: auto_map has AutoTokenizer": {
        "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["own.Own", None]}}
    },
    "/config.json: auto_map has AutoTokenizer": {"config.json": {"auto_map": {"AutoTokenizer": ["own.Own", None]}}},
    "tokenizer_config.json: tokenizer_file": {"tokenizer_config.json": {"tokenizer_file": "/home/x/tokenizer.json"}},
    "tokenizer_config.json: fast_tokenizer_files": {
        "tokenizer_config.json": {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]}
    },
    **{
        f"tokenizer_config.json: {field}": {"tokenizer_config.json": {field: True}}
        for field in ("add_bos_token", "add_eos_token", "fix_mistral_regex", "from_slow", "split_special_tokens")
    },
    "tokenizer_config.json: add_special_tokens": {"tokenizer_config.json": {"add_special_tokens": False}},
    "tokenizer_config.json: cls_token is '.PAD.'": {"tokenizer_config.json": {"cls_token": "[PAD]"}},
    "special_tokens_map.json: sep_token is '.PAD.'": {"special_tokens_map.json": {"sep_token": "[PAD]"}},
    "tokenizer_config.json: mask_token is {'lstrip'": {"tokenizer_config.json": {"mask_token": {"lstrip": True}}},
    "tokenizer_config.json: added_tokens_decoder: 'x' is not": {
        "tokenizer_config.json": {"added_tokens_decoder": {"7": "x"}}
    },
    "tokenizer_config.json: added_tokens_decoder: 'seven' is not": {
        "tokenizer_config.json": {"added_tokens_decoder": {"seven": {"content": "x"}}}
    },
    "tokenizer_config.json: added_tokens_decoder is not": {"tokenizer_config.json": {"added_tokens_decoder": ["x"]}},
    "tokenizer_config.json: added_tokens_decoder adds 'harbour-pilot' as token 30522": {
        "tokenizer_config.json": {"added_tokens_decoder": DECODER}
    },
    "added_tokens_decoder: 'hat' is normalized in one place": {
        "tokenizer.json": {"added_tokens": [{**TOKEN, "id": 6045, "content": "hat", "normalized": True}]},
        "tokenizer_config.json": {"added_tokens_decoder": {"6045": {**TOKEN, "content": "hat"}}},
    },
    "added_tokens.json adds '<X>' as token 30522": {"added_tokens.json": {"<X>": 30522}},
    "special_tokens_map.json: bos_token adds '<X>'": {"special_tokens_map.json": {"bos_token": "<X>"}},
    "tokenizer.json: normalizer is null": {"tokenizer.json": {"normalizer": None}},
    "added_tokens has 'Überfahrt', which do_lower_case": {
        "tokenizer.json": {
            "added_tokens": [{**TOKEN, "id": 1000, "content": "Überfahrt", "normalized": True}],
            **CAPITALS,
        }
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_can_not_be_applied_is_refused_with_its_file_and_field(write: Write, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_tokenizer(write("bert", REFUSED[message]), 30522, lower_case=False)
    assert "\n" not in str(caught.value)


def test_tokens_of_the_class_alone_need_no_row_in_the_model(write: Write) -> None:
    source = write("bert", {"config.json": {"model_type": "roberta"}})
    text, _ = load_tokenizer(source, 30522, lower_case=False)
    assert max(Tokenizer.from_str(text).get_vocab().values()) == 30521


def test_only_a_berts_vocabulary_is_enough(write: Write) -> None:
    source = write("words", {"tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer"}})
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json; make it with"):
        load_tokenizer(source, 30522, lower_case=False)


def test_a_vocabulary_without_basic_tokenization_is_refused(write: Write) -> None:
    source = write("words", {"tokenizer_config.json": {**BERT, "do_basic_tokenize": False}})
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: do_basic_tokenize"):
        load_tokenizer(source, 30522, lower_case=False)


def test_lower_casing_before_the_tokenizer_leaves_added_tokens_alone(write: Write, passages: list[str]) -> None:
    """As sentence-transformers does by a `do_lower_case` of its own."""
    source = write("bert", {"tokenizer_config.json": {**BERT, "do_lower_case": False}})
    plain, _ = load_tokenizer(source, 30522, lower_case=False)
    lower, _ = load_tokenizer(source, 30522, lower_case=True)
    for text in passages[:50]:
        assert Tokenizer.from_str(lower).encode(text).ids == Tokenizer.from_str(plain).encode(text.lower()).ids, text
    assert Tokenizer.from_str(lower).encode("A [MASK]").tokens == ["[CLS]", "a", "[MASK]", "[SEP]"]
    twice = json.loads(lower)["normalizer"]
    assert twice["normalizers"][0] == {"type": "Lowercase"}
    (source / "tokenizer.json").write_text(lower)
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert json.loads(load_tokenizer(source, 30522, lower_case=True)[0])["normalizer"] == twice


@pytest.mark.parametrize(("before", "after"), [(["[CLS]"], []), ([], ["[SEP]"]), (["[CLS]", "[SEP]"], [])], ids=str)
def test_a_text_may_have_its_special_tokens_at_one_end(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, before: list[str], after: list[str]
) -> None:
    source = with_ends(make_checkpoint(), before, after)
    export(source, tmp_path / "out", precision=["fp32"])
    with Embedder.load(tmp_path / "out") as model:
        facts = model.manifest.tokenizer
        assert facts == TokenizerFacts(tuple(IDS[end] for end in before), tuple(IDS[end] for end in after), "right")
        assert model.count_tokens(["", "one two"]) == [len(before + after), 2 + len(before + after)]
        assert model.embed(["", "one two three"]).shape == (2, 64)
    whole = BundleTokenizer(tmp_path / "out" / "tokenizer.json", 99, facts).encode(["one two three four"]).ids[0]
    cut = BundleTokenizer(tmp_path / "out" / "tokenizer.json", 4, facts).encode(["one two three four"]).ids[0]
    room = 4 - len(after)
    assert cut == whole[:room] + whole[len(whole) - len(after) :]


@pytest.mark.parametrize(("before", "after"), [([], []), (["[CLS]"], ["[SEP]", "[SEP]"])], ids=str)
def test_other_numbers_of_special_tokens_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, before: list[str], after: list[str]
) -> None:
    """An empty text needs a token, and the shortest limit has room for two beside the text's."""
    with pytest.raises(CheckpointError, match="does not put one or two tokens around a text"):
        export(with_ends(make_checkpoint(), before, after), tmp_path / "out")


def with_ends(source: Path, before: list[str], after: list[str]) -> Path:
    """``source`` with these tokens around every text."""
    fields = json.loads((source / "tokenizer.json").read_text())
    ends = [[{"SpecialToken": {"id": piece, "type_id": 0}} for piece in pieces] for pieces in (before, after)]
    fields["post_processor"] = {
        "type": "TemplateProcessing",
        "single": (template := [*ends[0], {"Sequence": {"id": "A", "type_id": 0}}, *ends[1]]),
        "pair": template,
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in IDS.items()},
    }
    (source / "tokenizer.json").write_text(json.dumps(fields))
    return source


@pytest.mark.parametrize("where", ["tokenizer_config.json", "tokenizer.json"])
def test_a_text_that_is_cut_on_its_left_keeps_its_end(write: Write, tmp_path: Path, where: str) -> None:
    truncation = {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    fields = {"truncation_side": "left"} if where == "tokenizer_config.json" else {"truncation": truncation}
    text, facts = load_tokenizer(write("bert", {where: fields}), 30522, lower_case=False)
    (tmp_path / "tokenizer.json").write_text(text)
    tokenizer = BundleTokenizer(tmp_path / "tokenizer.json", 4, facts)
    assert tokenizer.encode(["one two three four"]).ids == tokenizer.encode(["three four"]).ids


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers(write: Write, tmp_path: Path, passages: list[str], case: str) -> None:
    from transformers import AutoTokenizer

    source = write(*CASES[case])
    reference = AutoTokenizer.from_pretrained(source)
    text, facts = load_tokenizer(source, VOCABULARY, lower_case=False)
    (tmp_path / "tokenizer.json").write_text(text)
    texts = hostile(passages)
    for limit in (VOCABULARY, 12):
        ids = BundleTokenizer(tmp_path / "tokenizer.json", limit, facts).encode(texts).ids
        expected = reference(texts, truncation=True, max_length=limit).input_ids
        for each, ours, theirs in zip(texts, ids, expected, strict=True):
            assert ours == theirs, (each, limit)
