"""A tokenizer as nodes of a graph: one text goes in, the ids of its tokens come out.

Only operators that ONNX Runtime itself has are used: ``Tokenizer`` splits the text into characters, ``LabelEncoder``
looks them up and walks the trie. All characters of a text go through each step together, as do all its words; two loops
turn as often as the longest piece has characters, and as the longest word has pieces.
"""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from embedge.manifest import TokenizerFacts
from embedge_export.graph.builder import GraphBuilder
from embedge_export.targets.words import BETWEEN, FIRST, INNER, NOTHING, Words

_MICROSOFT = "com.microsoft"
_ML = "ai.onnx.ml"


def add_tokenizer(g: GraphBuilder, text: str, words: Words, facts: TokenizerFacts, max_tokens: int) -> str:
    """The ids of ``text``, of shape ``(1,)``, cut to ``max_tokens`` with its special tokens. Shape: ``(1, tokens)``."""
    room = max_tokens - len(facts.before) - len(facts.after)
    kept = (0, room) if facts.truncation_side == "right" else (-room, np.iinfo(np.int64).max)
    here, padded = _codes(g, text, words)
    token, length = _longest_pieces(g, here, padded, words)
    # Each word has a token at least, so that the others need not be looked at.
    starts, ends = (g.add("Slice", f"{places}/kept", places, *map(g.integers, kept)) for places in _words(g, padded))
    ids = _pieces(g, starts, ends, token, length, words)
    ids = g.add("Slice", "tokenizer/cut", ids, *map(g.integers, kept))
    around = [*filter(None, [_row(g, facts.before), ids, _row(g, facts.after)])]
    whole = g.add("Concat", "tokenizer/whole", *around, axis=0)
    return g.add("Unsqueeze", "input_ids", whole, g.integers(0))


def _row(g: GraphBuilder, values: tuple[int, ...]) -> str | None:
    return g.integers(*values) if values else None


def _codes(g: GraphBuilder, text: str, words: Words) -> tuple[str, str]:
    """The codes of a text, which end with one that is between words; the same with so many more as a piece is long.

    Shapes: ``(codes,)`` and ``(codes + longest,)``.
    """
    # A space at the end: nothing would come of an empty text.
    ended = g.add("StringConcat", "tokenizer/ended", text, g.constant("tokenizer/space", np.array([" "], object)))
    split = g.add(
        "Tokenizer",
        "tokenizer/split",
        ended,
        domain=_MICROSOFT,
        mark=0,
        mincharnum=1,
        pad_value=" ",
        tokenexp=words.kept,
    )
    characters = g.add("Reshape", "tokenizer/characters", split, g.integers(-1))
    known = _look_up(g, "tokenizer/known", characters, words.characters, 0)
    isolated = g.add("RegexFullMatch", "tokenizer/isolated", characters, pattern=words.isolated)
    alone = g.add("Cast", "tokenizer/alone", isolated, to=TensorProto.INT64)
    row = g.add("Max", "tokenizer/row", known, alone)
    rows = g.add("Gather", "tokenizer/rows", g.constant("tokenizer/table", words.rows), row)
    flat = g.add("Cast", "tokenizer/int64", rows, to=TensorProto.INT64)
    flat = g.add("Reshape", "tokenizer/flat", flat, g.integers(-1))
    found = g.add("GreaterOrEqual", "tokenizer/found", flat, g.scalar(np.int64(BETWEEN)))
    codes = g.add("Compress", "tokenizer/codes", flat, found)
    padding = g.constant("tokenizer/padding", np.full(words.longest, BETWEEN, np.int64))
    return codes, g.add("Concat", "tokenizer/padded", codes, padding, axis=0)


def _longest_pieces(g: GraphBuilder, here: str, padded: str, words: Words) -> tuple[str, str]:
    """The longest piece from each code on: its id, or :data:`NOTHING`, and its length. Shapes: ``(codes,)``."""
    size = g.add("Shape", "tokenizer/size", here)
    before = g.add("Concat", "tokenizer/shifted", g.integers(BETWEEN), here, axis=0)
    before = g.add("Slice", "tokenizer/before", before, g.integers(0), g.integers(-1))
    begins = g.add("Equal", "tokenizer/begins", before, g.scalar(np.int64(BETWEEN)))
    root = g.add("Where", "tokenizer/root", begins, g.scalar(np.int64(FIRST)), g.scalar(np.int64(INNER)))
    none = g.add("ConstantOfShape", "tokenizer/none", size, value=_tensor(NOTHING))
    zero = g.add("ConstantOfShape", "tokenizer/zero", size, value=_tensor(0))

    body = g.inner()
    start = body.add("Unsqueeze", "match/start", "match/number", body.integers(0))
    end = body.add("Add", "match/end", start, size)
    code = body.add("Slice", "match/code", padded, start, end)
    place = body.add("Mul", "match/place", "match/node", body.scalar(np.int64(words.codes)))
    key = body.add("Add", "match/key", place, code)
    node = _look_up(body, "match/next", key, words.transitions, NOTHING)
    # Of NOTHING, which is -1, that is the last.
    token = body.add("Gather", "match/token", body.constant("tokenizer/tokens", words.tokens), node)
    hit = body.add("GreaterOrEqual", "match/hit", token, body.scalar(np.int64(0)))
    body.add("Where", "match/best", hit, token, "match/best_in")
    count = body.add("Add", "match/count", start, body.integers(1))
    body.add("Where", "match/length", hit, count, "match/length_in")
    last = body.add("ReduceMax", "match/last", node, keepdims=0)
    body.add("GreaterOrEqual", "match/go_on", last, body.scalar(np.int64(0)))
    ints = ["match/node", "match/best_in", "match/length_in"]
    loop = _loop(body, "match", "match/go_on", ints, ["match/next", "match/best", "match/length"])
    trips = g.constant("tokenizer/longest", np.array(words.longest, np.int64))
    results = ["tokenizer/dead", "tokenizer/token", "tokenizer/length"]
    _, token, length = g.add_many("Loop", results, trips, "", root, none, zero, body=loop)
    return token, length


def _words(g: GraphBuilder, padded: str) -> tuple[str, str]:
    """Where the words begin, and the places behind their last codes. Shapes: ``(words,)``."""
    inside = g.add(
        "Not", "tokenizer/words/inside", g.add("Equal", "tokenizer/words/between", padded, g.scalar(np.int64(BETWEEN)))
    )
    around = g.add(
        "Concat", "tokenizer/words/around", g.constant("tokenizer/words/no", np.array([False])), inside, axis=0
    )
    current = g.add("Slice", "tokenizer/words/current", around, g.integers(1), g.integers(np.iinfo(np.int64).max))
    previous = g.add("Slice", "tokenizer/words/previous", around, g.integers(0), g.integers(-1))
    starts = g.add("And", "tokenizer/words/start", current, g.add("Not", "tokenizer/words/fresh", previous))
    ends = g.add("And", "tokenizer/words/end", previous, g.add("Not", "tokenizer/words/over", current))
    return _places(g, "tokenizer/words/starts", starts), _places(g, "tokenizer/words/ends", ends)


def _pieces(g: GraphBuilder, starts: str, ends: str, token: str, length: str, words: Words) -> str:
    """The ids of the pieces of words, one after the other. Shape: ``(pieces,)``."""
    size = g.add("Sub", "tokenizer/words/size", ends, starts)
    long = g.add("Greater", "tokenizer/words/long", size, g.scalar(np.int64(words.most_characters)))
    # Those are at their end from the start: the table of pieces has as many rows as the longest word has pieces.
    first = g.add("Where", "tokenizer/words/first_place", long, ends, starts)
    body = g.inner()
    piece = body.add("Gather", "walk/piece", token, "walk/place_in")
    step = body.add("Gather", "walk/step", length, "walk/place_in")
    body.add("Add", "walk/place", "walk/place_in", step)
    # Words that are at their end, or at a code from which no piece leads on, stay there.
    body.add("Greater", "walk/go_on", body.add("ReduceSum", "walk/steps", step, keepdims=0), body.scalar(np.int64(0)))
    loop = _loop(body, "walk", "walk/go_on", ["walk/place_in"], ["walk/place"], piece)
    place, pieces = g.add_many("Loop", ["tokenizer/words/place", "tokenizer/words/pieces"], "", "", first, body=loop)

    stuck = g.add("Not", "tokenizer/words/whole", g.add("Equal", "tokenizer/words/arrived", place, ends))
    unknown = g.add(
        "Unsqueeze", "tokenizer/words/unknown", g.add("Or", "tokenizer/words/bad", stuck, long), g.integers(1)
    )
    rows = g.add("Transpose", "tokenizer/words/rows", pieces, perm=[1, 0])
    nothing = g.scalar(np.int64(NOTHING))
    rows = g.add("Where", "tokenizer/words/known", unknown, nothing, rows)
    only = g.add("Where", "tokenizer/words/only", unknown, g.scalar(np.int64(words.unknown)), nothing)
    rows = g.add("Concat", "tokenizer/words/all", only, rows, axis=1)
    flat = g.add("Reshape", "tokenizer/words/flat", rows, g.integers(-1))
    return g.add(
        "Compress",
        "tokenizer/words/ids",
        flat,
        g.add("GreaterOrEqual", "tokenizer/words/is", flat, g.scalar(np.int64(0))),
    )


def _places(g: GraphBuilder, name: str, found: str) -> str:
    """Where ``found`` is true. Shape: ``(n,)`` -> ``(places,)``."""
    return g.add("Reshape", name, g.add("NonZero", f"{name}/all", found), g.integers(-1))


def _look_up(g: GraphBuilder, name: str, keys: str, table: Mapping[str, int] | Mapping[int, int], other: int) -> str:
    """The value of each key in ``table``, of one that is not there the ``other``."""
    kind = "keys_strings" if isinstance(next(iter(table)), str) else "keys_int64s"
    values = {"values_int64s": list(table.values()), "default_int64": other}
    return g.add("LabelEncoder", name, keys, domain=_ML, **{kind: list(table)}, **values)


def _tensor(value: int) -> TensorProto:
    return numpy_helper.from_array(np.array([value], np.int64))


def _loop(
    body: GraphBuilder, name: str, go_on: str, carried: list[str], results: list[str], *collected: str
) -> GraphProto:
    """The body of a loop over vectors of int64, which may add up a vector of each turn."""
    scalar = [
        helper.make_tensor_value_info(f"{name}/number", TensorProto.INT64, []),
        helper.make_tensor_value_info(f"{name}/before", TensorProto.BOOL, []),
    ]
    values = [helper.make_tensor_value_info(value, TensorProto.INT64, ["codes"]) for value in carried]
    out = [helper.make_tensor_value_info(value, TensorProto.INT64, ["codes"]) for value in [*results, *collected]]
    go = helper.make_tensor_value_info(go_on, TensorProto.BOOL, [])
    return helper.make_graph(body.nodes, name, [*scalar, *values], [go, *out])
