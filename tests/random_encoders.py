"""Tiny encoders of every model type, with random weights and tokenizers trained on the demo's passages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 32},
    "bert": {},
    "big_bird": {"attention_type": "original_full"},
    "camembert": {},
    "convbert": {"embedding_size": 64},
    "data2vec-text": {},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "distilbert": {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    "electra": {"embedding_size": 32},
    "ibert": {},
    "mobilebert": {"embedding_size": 32},
    "modernbert": {"local_attention": 8, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
    "mpnet": {},
    "rembert": {"input_embedding_size": 32},
    "roberta": {},
    "roformer": {"embedding_size": 64},
    "xlm-roberta": {},
}
"""What each has beside the sizes that all have."""

HAND_WRITTEN = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")
# These have <s> </s>, a padding token that is number 1, and positions that count from it.
_ROBERTAS = ("camembert", "data2vec-text", "ibert", "mpnet", "roberta", "xlm-roberta")
_VOCABULARY = 1000
LONGEST = 64


def write(directory: Path, model_type: str, passages: Sequence[str], *, reranker: bool = False, **changes: Any) -> Path:
    """Write a checkpoint as transformers saves it, with weights about as far from zero as trained ones.

    A ``reranker`` has a head for one score. ``changes`` are of its configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    robertas = model_type in _ROBERTAS
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    if model_type == "distilbert":
        sizes = {}
    if robertas:
        sizes |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    longest = LONGEST + 2 if robertas else LONGEST
    settings = {"vocab_size": _VOCABULARY, "max_position_embeddings": longest, **sizes, **SIZES[model_type], **changes}
    torch.manual_seed(0)
    kind = AutoModelForSequenceClassification if reranker else AutoModel
    if reranker:
        settings["num_labels"] = 1
    model = kind.from_config(AutoConfig.for_model(model_type, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            base = 1 if parameter.ndim == 1 and bool((parameter == 1).all()) else 0  # the weight of a LayerNorm
            parameter.copy_(base + 0.05 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    inputs = ["input_ids", "attention_mask"]
    if model_type in ("distilbert", "modernbert"):  # no token types
        tokenizer = _word_pieces(passages, inputs)
    else:
        tokenizer = _byte_pairs(passages, inputs) if robertas else _word_pieces(passages, [*inputs, "token_type_ids"])
    tokenizer.save_pretrained(directory)
    return directory


def _byte_pairs(passages: Sequence[str], inputs: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, special_tokens=list(names.values()), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(passages, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokens = {f"{name}_token": token for name, token in names.items()}
    tokens |= {"cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LONGEST, model_input_names=inputs, **tokens
    )


def _word_pieces(passages: Sequence[str], inputs: list[str]) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=_VOCABULARY, special_tokens=list(names.values()), show_progress=False
    )
    tokenizer.train_from_iterator(passages, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokens = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LONGEST, model_input_names=inputs, **tokens
    )
