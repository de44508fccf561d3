"""How a tokenizer puts two texts together, for models that read pairs."""

from pathlib import Path

from tokenizers import Encoding, Tokenizer

from embedge.errors import CheckpointError
from embedge.manifest import TokenizerFacts
from embedge_export.checkpoint.files import read_object

_PAIRS = (("a", "b"), ("what runs at the edge?", "ONNX Runtime, e.g. on a box."), ("Ä", "  two  spaces "), ("", "x"))


def pair_facts(encoder: Path, tokenizer_json: str, facts: TokenizerFacts, type_offset: int) -> TokenizerFacts:
    """``facts`` with what stands between the texts.

    ``type_offset`` is added to the ids of the second text where the tokenizer gives it a type of its own; 0 for a model
    without token types.

    Raises:
        CheckpointError: pairs are not their texts with special tokens before, between and after.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    encoding = tokenizer.encode("a", "b")
    parts = encoding.sequence_ids
    if 0 not in parts or 1 not in parts:
        raise CheckpointError(f"{encoder / 'tokenizer.json'} does not put two texts together; a reranker needs that")
    last = len(parts) - parts[::-1].index(0)
    between = tuple(encoding.ids[last : parts.index(1)])
    inputs = read_object(encoder / "tokenizer_config.json", optional=True).get("model_input_names")
    told_apart = max(encoding.type_ids) == 1 and (inputs is None or "token_type_ids" in inputs)
    found = facts._replace(between=between, second=type_offset if told_apart else 0)
    for first, second in _PAIRS:
        if _expected(tokenizer.encode(first, second), found.second) != _assembled(tokenizer, first, second, found):
            raise CheckpointError(
                f"{encoder / 'tokenizer.json'} does not put pairs together as two texts with special tokens before, "
                "between and after them"
            )
    return found


def _expected(encoding: Encoding, second: int) -> list[int]:
    return [number + kind * second for number, kind in zip(encoding.ids, encoding.type_ids, strict=True)]


def _assembled(tokenizer: Tokenizer, first: str, second: str, facts: TokenizerFacts) -> list[int]:
    left, right = (tokenizer.encode(text, add_special_tokens=False).ids for text in (first, second))
    behind = [number + facts.second for number in [*right, *facts.after]]
    return [*facts.before, *left, *facts.between, *behind]
