"""What transformers' fast tokenizers of each class do to a ``tokenizer.json``, read from transformers 4.57."""

from collections.abc import Mapping
from typing import NamedTuple

NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Fields of tokenizer_config.json, and what a ``BertNormalizer`` calls them."""


class TokenizerClass(NamedTuple):
    """What a class of transformers adds to a ``tokenizer.json``."""

    tokens: Mapping[str, str]
    """Special tokens that no file has to name."""
    normalizer: tuple[str, ...] = ()
    """Fields that replace those of a ``BertNormalizer`` where one of them differs."""
    mask: Mapping[str, bool] = {}
    """Flags of the mask token where it is given as a string."""
    from_vocabulary: bool = False
    """Whether ``vocab.txt`` is enough."""


_WORD_PIECE = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_BYTE_PAIR = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_DEBERTA = {**_WORD_PIECE, "bos_token": "[CLS]", "eos_token": "[SEP]"}
_ALBERT = {**_DEBERTA, "unk_token": "<unk>", "pad_token": "<pad>"}
_BERT = TokenizerClass(_WORD_PIECE, tuple(NORMALIZER))
_ROBERTA = TokenizerClass(_BYTE_PAIR, mask={"lstrip": True, "normalized": False})

CLASSES = {
    "AlbertTokenizer": TokenizerClass(_ALBERT, mask={"lstrip": True, "normalized": False}),
    "BertTokenizer": _BERT._replace(from_vocabulary=True),
    "BigBirdTokenizer": TokenizerClass(
        {**_WORD_PIECE, "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"},
        mask={"lstrip": True},
    ),
    "CamembertTokenizer": TokenizerClass(_BYTE_PAIR, mask={"lstrip": True, "special": True}),
    "ConvBertTokenizer": _BERT,
    "DebertaTokenizer": TokenizerClass(_DEBERTA),
    "DebertaV2Tokenizer": TokenizerClass(_DEBERTA),
    "DistilBertTokenizer": _BERT._replace(from_vocabulary=True),
    "ElectraTokenizer": _BERT._replace(from_vocabulary=True),
    "LongformerTokenizer": _ROBERTA,
    "MPNetTokenizer": TokenizerClass(
        {**_BYTE_PAIR, "unk_token": "[UNK]"}, ("do_lower_case", "strip_accents"), mask={"lstrip": True}
    ),
    "MobileBertTokenizer": _BERT,
    "PreTrainedTokenizer": TokenizerClass({}),
    "RemBertTokenizer": TokenizerClass(_ALBERT, mask={"lstrip": True}),
    "RobertaTokenizer": _ROBERTA,
    "SqueezeBertTokenizer": _BERT,
    # What transformers 5 calls PreTrainedTokenizerFast.
    "TokenizersBackend": TokenizerClass({}),
    "XLMRobertaTokenizer": TokenizerClass(_BYTE_PAIR, mask={"lstrip": True}),
}
# transformers wraps every special token of these, so that their flags replace those of tokenizer.json.
WRAPPING = ("BigBirdTokenizer", "MPNetTokenizer")
CAMEMBERT_LISTED = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
BY_MODEL_TYPE = {
    "albert": "AlbertTokenizer",
    "bert": "BertTokenizer",
    "big_bird": "BigBirdTokenizer",
    "camembert": "CamembertTokenizer",
    "convbert": "ConvBertTokenizer",
    "data2vec-text": "RobertaTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "ernie": "BertTokenizer",
    "ibert": "RobertaTokenizer",
    "longformer": "LongformerTokenizer",
    "megatron-bert": "BertTokenizer",
    "mobilebert": "MobileBertTokenizer",
    "modernbert": "PreTrainedTokenizer",
    "mpnet": "MPNetTokenizer",
    "nystromformer": "AlbertTokenizer",
    "rembert": "RemBertTokenizer",
    "roberta": "RobertaTokenizer",
    "roberta-prelayernorm": "RobertaTokenizer",
    "squeezebert": "SqueezeBertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlm-roberta-xl": "XLMRobertaTokenizer",
    "xmod": "XLMRobertaTokenizer",
}
