"""What texts go in, and what comes out: shapes, options, truncation and errors."""

import json
import math
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from embedge import Embedder, EmbedgeError, InputError
from embedge.manifest import TokenizerFacts
from embedge.tokenizer import Tokenizer
from embedge_export import export
from tests.cases import write_checkpoint
from tests.damage import reseal

HALF = "half \ud83d of a pair"
WHITE = ["", " ", "\t\n \r\n", "\u00a0\u2003\u3000", "\0", "\u200b\ufeff", " \0 "]
ODD = {
    "NUL": "before\0after",
    "emoji": "👩🏽‍🚀 lands 🚀🌕",
    "right to left": "שלום עולם مرحبا بالعالم",
    "CJK": "東京の夜は静かだ。北京欢迎你",
    "combining": "e\u0301le\u0300ve A\u030angstro\u0308m",
    "marks only": "\u0301\u0302",
    "special tokens": "[CLS] a [MASK] b [SEP] [PAD]",
    "control": "\x01\x02\x7f\x85",
    "beyond the basic plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U00020000",
    "not a character": "\ufffe\uffff\U0010ffff",
}
LONG = {
    "long CJK": "天地玄黄宇宙洪荒" * 2000,
    "no white space": "x" * 20_000,
    "no white space but punctuation": "a.b,c!" * 3000,
    "long English": "the harbour is closed in winter; " * 2000,
    "long with other white space": "one\u00a0two\u3000three\u2028" * 2000,
    "long right to left": "שלום " * 3000,
    "long emoji": "🚀" * 5000,
    "long white start": " " * 50_000 + "end",
    "long and NUL": "a\0 " * 10_000,
}

FACTS = TokenizerFacts(before=(101,), after=(102,), truncation_side="right")
"""Of MiniLM's tokenizer: [CLS] and [SEP]."""


@pytest.fixture(scope="module")
def prompted(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """A tiny random model with prompts that takes 32 tokens."""
    directory = tmp_path_factory.mktemp("prompted")
    checkpoint = write_checkpoint(directory / "checkpoint", minilm, "cls")
    export(checkpoint, directory / "out", query_prompt="query: ", document_prompt="passage: ", max_tokens=32)
    with Embedder.load(directory / "out") as model:
        yield model


@pytest.fixture(scope="module")
def reference(bundle: Path) -> tokenizers.Tokenizer:
    """The tokenizers library's own reading of the bundle's file: no padding, no truncation, no pieces."""
    tokenizer = tokenizers.Tokenizer.from_file(str(bundle / "tokenizer.json"))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None
    return tokenizer


def quietly(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call()


# Shapes and lengths


def test_no_text_gives_no_row(model: Embedder) -> None:
    assert model.embed([]).shape == (0, 384)
    assert model.embed(()).shape == (0, 384)
    assert model.embed([], dimensions=64, dtype="int8").shape == (0, 64)
    assert model.embed([], dtype="binary").shape == (0, 48)
    assert list(model.embed_iter([])) == []
    assert model.count_tokens([]) == []


def test_one_text_gives_one_row_and_a_query_a_vector(model: Embedder) -> None:
    assert model.embed(["a boat"]).shape == (1, 384)
    assert model.embed_query("a boat").shape == (384,)
    assert next(model.embed_iter(["a boat"])).shape == (384,)


def test_vectors_are_float32_of_length_1(model: Embedder, fp32: Embedder, passages: list[str]) -> None:
    for embedder in (model, fp32):
        vectors = embedder.embed([*passages[:10], *WHITE, *ODD.values()])
        assert vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() < 1e-6


def test_rows_come_in_the_order_of_the_texts(model: Embedder, passages: list[str]) -> None:
    texts = [passages[0], "", "short", passages[1] + passages[2], "short"]
    vectors = model.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(model.embed([text])[0], vector)


def test_a_tuple_is_as_good_as_a_list(model: Embedder) -> None:
    assert np.array_equal(model.embed(("a", "b")), model.embed(["a", "b"]))


# Which texts


@pytest.mark.parametrize("text", WHITE, ids=repr)
def test_empty_and_white_texts_give_the_vector_of_the_empty_sequence(model: Embedder, text: str) -> None:
    assert model.count_tokens([text]) == [2]
    assert np.array_equal(model.embed([text]), model.embed([""]))
    assert np.array_equal(model.embed_query(text), model.embed([""])[0])


@pytest.mark.parametrize("kind", ODD)
def test_odd_texts_are_embedded_as_the_tokenizers_library_reads_them(
    model: Embedder, reference: tokenizers.Tokenizer, kind: str
) -> None:
    assert model.count_tokens([ODD[kind]]) == [len(reference.encode(ODD[kind]).ids)]
    vector = model.embed([ODD[kind]])[0]
    assert np.isfinite(vector).all()
    assert np.array_equal(vector, model.embed_query(ODD[kind]))


def test_meaning_survives_odd_characters(model: Embedder) -> None:
    plain, odd, other = model.embed(["the ferry is late", "The\0 ferry\u200b\nis\tlate", "42"])
    assert np.array_equal(plain, odd)
    assert plain @ other < 0.9


@pytest.mark.parametrize("kind", LONG)
def test_long_texts_give_the_vector_of_what_fits(
    model: Embedder, reference: tokenizers.Tokenizer, kind: str, bundle: Path
) -> None:
    ids = reference.encode(LONG[kind]).ids
    assert model.count_tokens([LONG[kind]]) == [len(ids)]
    encoded = Tokenizer(bundle / "tokenizer.json", 256, FACTS).encode([LONG[kind]])
    assert encoded.ids == [ids if len(ids) <= 256 else ids[:255] + ids[-1:]]
    assert encoded.truncated == ([0] if len(ids) > 256 else [])
    assert np.isfinite(quietly(lambda: model.embed([LONG[kind]]))).all()


def test_20_million_characters_fit_in_little_memory(bundle: Path) -> None:
    code = """if True:
        import resource, sys, warnings
        import numpy as np
        from embedge import Embedder
        warnings.simplefilter("ignore")
        unit = 1 if sys.platform == "darwin" else 1024
        model = Embedder.load(sys.argv[1])
        sentence = "The harbour is closed in winter; 東京 stays open. "
        start = model.embed([sentence * 30])
        text = sentence * (20_000_000 // len(sentence))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert np.array_equal(model.embed([text]), start)
        assert np.array_equal(model.embed_query(text), start[0])
        print(len(text), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit // 1_000_000)
    """
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True)
    characters, megabytes = map(int, done.stdout.split())
    assert characters > 19_900_000
    assert megabytes < 300


# What is no text


@pytest.mark.parametrize("texts", ["a boat", ""])
def test_one_str_in_place_of_a_list_is_a_type_error(model: Embedder, texts: str) -> None:
    for call in (model.embed, model.embed_iter, model.count_tokens):
        with pytest.raises(TypeError, match="not one str"):
            call(texts)


@pytest.mark.parametrize(
    "texts",
    [b"bytes", bytearray(b"a"), None, 3, 1.5, {"a": "b"}, {"a"}, frozenset({"a"}), list],
    ids=lambda texts: type(texts).__name__,
)
def test_what_is_not_a_list_is_a_type_error_at_the_call(model: Embedder, texts: Any) -> None:
    for call in (model.embed, model.embed_queries, model.embed_iter, model.count_tokens):
        with pytest.raises(TypeError, match=f"texts is {type(texts).__name__}, not a list"):
            call(texts)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["nested"], ["a", "b"], ("a", "b"), 1.5, np.array(["a"])], ids=repr)
@pytest.mark.parametrize("index", [0, 2, 3])
def test_a_member_that_is_not_a_str_is_named_by_its_index(model: Embedder, bad: object, index: int) -> None:
    texts: list[Any] = ["a", "b " * 20_000, "c"]
    texts.insert(index, bad)
    message = rf"texts\[{index}\] is {type(bad).__name__}, not str"
    for call in (model.embed, model.count_tokens, lambda texts: list(model.embed_iter(texts))):
        with pytest.raises(InputError, match=message):
            call(texts)
    with pytest.raises(InputError, match=message):
        model.embed_queries(texts)
    with pytest.raises(InputError, match=message):
        model.embed(texts, prompt="x: ")


@pytest.mark.parametrize("index", [0, 2, 3])
def test_half_of_a_surrogate_pair_is_named_by_its_index(model: Embedder, index: int) -> None:
    texts = ["a", "b " * 100, "c"]
    texts.insert(index, HALF)
    for call in (model.embed, model.count_tokens, lambda texts: list(model.embed_iter(texts))):
        with pytest.raises(InputError, match=rf"texts\[{index}\] has half of a surrogate pair at character 5"):
            call(texts)


@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_half_of_a_surrogate_pair_in_a_long_text_is_found_where_it_is_read(model: Embedder, where: str) -> None:
    words = ["word"] * 60_000
    words[{"start": 0, "middle": 30_000, "end": -1}[where]] = "\udc00"
    with pytest.raises(InputError, match=r"texts\[1\] has half of a surrogate pair"):
        model.count_tokens(["a", " ".join(words)])
    if where == "start":
        with pytest.raises(InputError, match=r"texts\[1\] has half of a surrogate pair"):
            model.embed(["a", " ".join(words)])


def test_both_halves_of_a_pair_are_a_character(model: Embedder) -> None:
    whole = HALF.replace("\ud83d", "\U0001f680")
    assert model.embed([whole]).shape == (1, 384)


@pytest.mark.parametrize("bad", [HALF, None, 7], ids=ascii)
def test_the_index_counts_over_all_windows(prompted: Embedder, bad: Any) -> None:
    texts = ["word"] * 1030 + [bad] + ["word"] * 5
    with pytest.raises(InputError, match=r"texts\[1030\]"):
        list(prompted.embed_iter(texts))
    with pytest.raises(InputError, match=r"texts\[1030\]"):
        prompted.embed(texts)
    with pytest.raises(InputError, match=r"texts\[1030\]"):
        prompted.embed(texts, progress=True)


def test_embed_iter_hands_out_every_window_before_the_bad_one(prompted: Embedder) -> None:
    vectors = prompted.embed_iter(["word"] * 1030 + [HALF])
    for _ in range(1024):
        next(vectors)
    with pytest.raises(InputError, match=r"texts\[1030\]"):
        next(vectors)


@pytest.mark.parametrize("query", [None, 3, b"bytes", ["a boat"], ("a",)], ids=repr)
def test_a_query_that_is_not_a_str_is_a_type_error_that_names_embed_queries(model: Embedder, query: object) -> None:
    message = f"a query is one str, not {type(query).__name__}; embed_queries takes a list"
    with pytest.raises(TypeError, match=message):
        model.embed_query(query)  # type: ignore[call-overload]


def test_half_of_a_surrogate_pair_in_a_query_is_refused(model: Embedder, prompted: Embedder) -> None:
    for embedder in (model, prompted):
        with pytest.raises(InputError, match=r"texts\[0\] has half of a surrogate pair"):
            embedder.embed_query(HALF)


def test_an_input_error_is_a_value_error_and_an_embedge_error(model: Embedder) -> None:
    for kind in (ValueError, EmbedgeError):
        with pytest.raises(kind):
            model.embed([None])  # type: ignore[list-item]


def test_an_error_leaves_the_embedder_usable(model: Embedder) -> None:
    before = model.embed(["a boat"])
    with pytest.raises(InputError):
        model.embed(["a", HALF])
    assert np.array_equal(model.embed(["a boat"]), before)


# Truncation


def words(count: int) -> str:
    """A text of ``count`` tokens, with the two special ones."""
    return " ".join(["word"] * (count - 2))


@pytest.mark.parametrize("progress", [False, True])
def test_truncation_is_one_warning_that_says_how_many(prompted: Embedder, progress: bool) -> None:
    texts = ["short", words(40), words(33), words(32), "", words(5000)]
    with pytest.warns(UserWarning, match="^3 texts were truncated to the model's 32 tokens") as caught:
        prompted.embed(texts, prompt="", progress=progress)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_truncation_of_one_text_is_told_in_the_singular(prompted: Embedder) -> None:
    with pytest.warns(UserWarning, match="^1 text was truncated") as caught:
        prompted.embed([words(33), "short"], prompt="")
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="^1 text was truncated") as caught:
        prompted.embed_query(words(33))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_truncation_is_told_by_an_embed_iter_that_is_left_early(prompted: Embedder) -> None:
    vectors = prompted.embed_iter([words(33), "word", "word"])
    next(vectors)
    with pytest.warns(UserWarning, match="^1 text was truncated"):
        vectors.close()  # type: ignore[attr-defined]


def test_truncation_in_embed_iter_is_one_warning_at_the_end(prompted: Embedder) -> None:
    texts = [words(33)] + ["word"] * 1100 + [words(50)]
    with pytest.warns(UserWarning, match="^2 texts were truncated") as caught:
        count = sum(1 for _ in prompted.embed_iter(texts))
    assert count == 1102
    assert len(caught) == 1


def test_a_text_that_just_fits_is_no_warning(prompted: Embedder) -> None:
    """Warnings are errors in these tests."""
    assert prompted.count_tokens([words(32)]) == [32]
    prompted.embed([words(32)], prompt="")
    prompted.embed([words(32)], prompt="", on_overflow="error")


@pytest.mark.parametrize("length", [33, 34, 100, 5000, 60_001])
def test_overflow_as_an_error_names_the_index_and_the_exact_length(prompted: Embedder, length: int) -> None:
    texts = ["short", words(32), words(length), words(200)]
    message = rf"texts\[2\] has {length} tokens, the model takes 32"
    with pytest.raises(InputError, match=message):
        prompted.embed(texts, prompt="", on_overflow="error")
    with pytest.raises(InputError, match=message):
        list(prompted.embed_iter(texts, prompt="", on_overflow="error"))


def test_overflow_as_an_error_counts_the_prompt_and_every_window(prompted: Embedder) -> None:
    with pytest.raises(InputError, match=r"texts\[0\] has 34 tokens"):
        prompted.embed_query(words(32), on_overflow="error")  # "query", ":"
    with pytest.raises(InputError, match=r"texts\[1500\] has 33 tokens"):
        list(prompted.embed_iter(["word"] * 1500 + [words(33)], prompt="", on_overflow="error"))
    with pytest.raises(InputError, match=r"texts\[1500\] has 33 tokens"):
        prompted.embed(["word"] * 1500 + [words(33)], prompt="", on_overflow="error", progress=True)


@pytest.mark.parametrize(
    ("choice", "error"), [("ignore", ValueError), ("", ValueError), ("Truncate", ValueError), (None, TypeError)]
)
def test_another_overflow_is_an_error(model: Embedder, choice: Any, error: type[Exception]) -> None:
    for call in (model.embed, model.embed_iter):
        with pytest.raises(error, match="on_overflow="):
            call(["a"], on_overflow=choice)
    with pytest.raises(error, match="on_overflow="):
        model.embed_query("a", on_overflow=choice)


def mixed(draw: random.Random, characters: int) -> str:
    """English, CJK, emoji, accents, odd white space, special tokens and words of up to 150 letters."""
    kinds = [
        "harbour",
        "Ünïcödé",
        "東京",
        "漢",
        "👩🏽‍🚀",
        "e\u0301",
        "\0",
        "[MASK]",
        "[SEP]",
        "##ing",
        "don't",
        "3.14",
        "שלום",
    ]
    seams = [" ", " ", " ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "", "-", "."]
    parts, length = [], 0
    while length < characters:
        part = "x" * draw.randint(1, 150) if draw.random() < 0.02 else draw.choice(kinds)
        parts += [part, draw.choice(seams)]
        length += len(part) + len(parts[-1])
    return "".join(parts)


@pytest.mark.parametrize("characters", [10, 1000, 99_000, 101_000, 250_000])
def test_the_count_is_the_tokenizers_library_s_own(
    model: Embedder, reference: tokenizers.Tokenizer, characters: int
) -> None:
    texts = [mixed(random.Random(seed), characters) for seed in range(1 if characters > 200_000 else 2)]
    assert model.count_tokens(texts) == [len(reference.encode(text).ids) for text in texts]


@pytest.mark.parametrize("seam", [" ", "\n", "", "\u3000", "東", "\u0301", " \u0301", ".", "[MASK]", "##"])
def test_the_count_is_right_at_the_seam_of_two_pieces(
    model: Embedder, reference: tokenizers.Tokenizer, seam: str
) -> None:
    """Pieces are of 100 000 characters."""
    for shift in {-len(seam), -1, 0, 1}:
        text = ("word " * 20_000)[: 100_000 + shift] + seam + "harbour [MASK] 東京" * 30
        assert model.count_tokens([text]) == [len(reference.encode(text).ids)]


def test_truncated_ids_are_those_of_the_tokenizers_library(bundle: Path) -> None:
    draw = random.Random(0)
    cutting = tokenizers.Tokenizer.from_file(str(bundle / "tokenizer.json"))
    for limit in (3, 4, 7, 16, 32, 256):
        tokenizer = Tokenizer(bundle / "tokenizer.json", limit, FACTS)
        cutting.no_truncation()
        texts = [mixed(draw, draw.randint(1, 8 * limit)) for _ in range(100)]
        texts += [mixed(draw, draw.randint(64 * limit, 200 * limit)) for _ in range(5)]
        texts += [words(limit + more) for more in range(-1, 4)]
        lengths = [len(encoding.ids) for encoding in cutting.encode_batch(texts)]
        assert min(lengths) <= limit < max(lengths)
        cutting.enable_truncation(limit)
        encoded = tokenizer.encode(texts)
        assert encoded.ids == [encoding.ids for encoding in cutting.encode_batch(texts)]
        assert encoded.truncated == [index for index, length in enumerate(lengths) if length > limit]


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_part_that_is_read_of_a_long_text_has_its_vector(prompted: Embedder, side: Any) -> None:
    tokenizer = prompted.tokenizer
    for text in ("the harbour is closed in winter; " * 40, "天地玄黄宇宙洪荒" * 20, words(33), words(5000)):
        (reading,) = tokenizer.readings([text], prompt="new: ", side=side)
        assert reading.tokens == prompted.count_tokens(["new: " + text])[0] > 32
        part = text[reading.start : reading.end]
        assert (reading.start, reading.end)[side == "left"] == (0, len(text))[side == "left"]
        prompt = "new: " if side == "right" else ""
        assert tokenizer.encode([prompt + part]).ids == tokenizer.encode([text], prompt="new: ", side=side).ids
        assert tokenizer.encode([prompt + part]).truncated == []


def test_a_text_that_fits_is_read_whole(prompted: Embedder) -> None:
    assert prompted.tokenizer.readings(["", words(32)]) == [(2, 0, 0), (32, 0, len(words(32)))]


def test_vectors_of_truncated_texts_are_those_of_the_texts_that_fit(prompted: Embedder) -> None:
    for length in (33, 40, 1000, 100_000):
        vector = quietly(partial(prompted.embed, [words(length)], prompt=""))
        assert np.array_equal(vector, prompted.embed([words(32)], prompt=""))


def test_the_padding_and_truncation_of_the_checkpoint_are_gone(
    minilm: Path, bundle: Path, model: Embedder, reference: tokenizers.Tokenizer
) -> None:
    shipped = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    assert shipped.truncation
    assert shipped.truncation["max_length"] == 128
    assert len(shipped.encode("a").ids) == 128
    assert len(reference.encode("a").ids) == 3
    fields = json.loads((bundle / "tokenizer.json").read_bytes())
    assert (fields["padding"], fields["truncation"]) == (None, None)
    assert model.manifest.max_tokens == 256
    assert model.count_tokens(["a", words(200), words(300)]) == [3, 200, 300]
    one, two = model.embed([words(200), words(199) + " harbour"])
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("chinese", [True, False])
@pytest.mark.parametrize("unit", ["漢字", "漢字かな ", "abc漢"])
def test_the_count_is_right_whether_or_not_the_tokenizer_splits_chinese(
    bundle: Path, tmp_path: Path, chinese: bool, unit: str
) -> None:
    text = unit * (110_000 // len(unit))
    fields = json.loads((bundle / "tokenizer.json").read_bytes())
    fields["normalizer"]["handle_chinese_chars"] = chinese
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(fields))
    expected = len(tokenizers.Tokenizer.from_file(str(path)).encode(text).ids)
    assert Tokenizer(path, 256, FACTS).count([text]) == [expected]


# Prompts


def test_a_prompt_is_put_in_front_of_each_text(model: Embedder) -> None:
    texts = ["a boat", "", "東京"]
    expected = model.embed(["x: " + text for text in texts])
    assert np.array_equal(model.embed(texts, prompt="x: "), expected)
    assert np.array_equal(list(model.embed_iter(texts, prompt="x: ")), expected)
    assert not np.array_equal(model.embed(texts), expected)


def test_the_prompts_of_the_bundle_are_used_unless_another_is_given(prompted: Embedder) -> None:
    plain, query, document = prompted.embed(["a boat", "query: a boat", "passage: a boat"], prompt="")
    assert len({vector.tobytes() for vector in (plain, query, document)}) == 3
    assert np.array_equal(prompted.embed_query("a boat"), query)
    assert np.array_equal(prompted.embed(["a boat"])[0], document)
    assert np.array_equal(next(prompted.embed_iter(["a boat"])), document)
    assert np.array_equal(next(prompted.embed_iter(["a boat"], prompt="")), plain)
    assert np.array_equal(prompted.embed(["a boat"], prompt="query: ")[0], query)


def test_half_of_a_surrogate_pair_in_a_prompt_is_told_of_the_prompt(model: Embedder) -> None:
    for call in (model.embed, model.embed_iter):
        with pytest.raises(InputError, match=r"^prompt has half of a surrogate pair at character 5"):
            call(["a"], prompt=HALF)


def test_counting_adds_no_prompt(prompted: Embedder) -> None:
    assert prompted.count_tokens(["a boat"]) == [4]


# Forms


@pytest.mark.parametrize("dimensions", [1, 2, 64, 383, 384, np.int64(64)])
def test_fewer_dimensions_are_the_first_ones_of_length_1(model: Embedder, dimensions: int) -> None:
    texts = ["a boat", "", "東京"]
    whole = model.embed(texts)
    cut = model.embed(texts, dimensions=dimensions)
    assert cut.shape == (3, dimensions)
    assert cut.dtype == np.float32
    first = whole[:, :dimensions].astype(np.float64)
    np.testing.assert_allclose(cut, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)
    assert np.array_equal(model.embed_query("a boat", dimensions=dimensions), cut[0])
    assert np.array_equal(list(model.embed_iter(texts, dimensions=dimensions)), cut)


@pytest.mark.parametrize("dimensions", [0, -1, 385, np.int64(385), 10**30])
def test_dimensions_that_there_are_not_are_a_value_error_at_once(model: Embedder, dimensions: Any) -> None:
    for call in (model.embed, model.embed_iter, model.embed_queries):
        with pytest.raises(ValueError, match="ask for 1 to 384"):
            call(["a"], dimensions=dimensions)
    with pytest.raises(ValueError, match="ask for 1 to 384"):
        model.embed_query("a", dimensions=dimensions)


@pytest.mark.parametrize("dimensions", [math.inf, 2.5, "8", True, np.float32(8)])
def test_dimensions_that_are_no_int_are_a_type_error_at_once(model: Embedder, dimensions: Any) -> None:
    for call in (model.embed, model.embed_iter, model.embed_queries):
        with pytest.raises(TypeError, match="dimensions="):
            call(["a"], dimensions=dimensions)


@pytest.mark.parametrize("dimensions", [None, 64])
def test_small_types_hold_the_same_vectors(model: Embedder, passages: list[str], dimensions: int | None) -> None:
    texts = passages[:5]
    vectors = model.embed(texts, dimensions=dimensions)
    width = dimensions or 384

    half = model.embed(texts, dimensions=dimensions, dtype="float16")
    assert half.dtype == np.float16
    assert np.array_equal(half, vectors.astype(np.float16))

    codes = model.embed(texts, dimensions=dimensions, dtype="int8")
    assert codes.dtype == np.int8
    assert codes.shape == (5, width)
    # Fewer dimensions, of length 1 again, are larger.
    largest = min(1.0, model.manifest.int8_range * math.sqrt(384 / width))
    assert np.abs(vectors).max() <= largest
    assert np.abs(codes - 127.0 / largest * vectors).max() <= 0.5001

    bits = model.embed(texts, dimensions=dimensions, dtype="binary")
    assert bits.dtype == np.uint8
    assert bits.shape == (5, width // 8)
    assert [f"{byte:08b}" for byte in bits[0][:2]] == [
        "".join("1" if x > 0 else "0" for x in vectors[0][start : start + 8]) for start in (0, 8)
    ]
    assert np.array_equal(np.unpackbits(bits, axis=1), vectors > 0)

    forms: dict[Any, Any] = {"float16": half, "int8": codes, "binary": bits}
    for dtype, rows in forms.items():
        row = model.embed_query(texts[0], dimensions=dimensions, dtype=dtype)
        assert row.dtype == rows.dtype
        assert np.array_equal(row, rows[0])
        iterated = list(model.embed_iter(texts, dimensions=dimensions, dtype=dtype))
        assert np.array_equal(iterated, rows)


def test_int8_codes_reach_both_ends(model: Embedder) -> None:
    codes = model.embed(["a boat", "the sea", "42", "snow"], dimensions=1, dtype="int8")
    assert set(np.abs(codes.astype(int)).flatten()) == {127}


@pytest.mark.parametrize(
    ("dtype", "error"),
    [
        *(("float64", ValueError), ("", ValueError), ("INT8", ValueError)),
        *((None, TypeError), (5, TypeError), (np.float16, TypeError)),
    ],
)
def test_another_type_is_an_error_at_once(model: Embedder, dtype: Any, error: type[Exception]) -> None:
    for call in (model.embed, model.embed_iter):
        with pytest.raises(error, match="choose one of float32, float16, int8, binary"):
            call(["a"], dtype=dtype)
    with pytest.raises(error, match="choose one of"):
        model.embed_query("a", dtype=dtype)


def test_vectors_of_fewer_dimensions_lie_in_one_piece(bundle: Path, tmp_path: Path) -> None:
    """Also where they are not made length 1 again."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    reseal(copy, lambda fields: fields.update(normalized=False))
    with Embedder.load(copy) as model:
        vectors = model.embed(["a boat", "the sea"], dimensions=64)
        assert vectors.flags.c_contiguous
        assert vectors.base is None


@pytest.mark.parametrize("dimensions", [1, 7, 12, 383])
def test_binary_vectors_of_broken_bytes_are_a_value_error(model: Embedder, dimensions: int) -> None:
    with pytest.raises(ValueError, match="8 dimensions in a byte"):
        model.embed(["a"], dimensions=dimensions, dtype="binary")


def test_what_is_handed_out_can_be_changed(model: Embedder) -> None:
    first = model.embed(["a boat"])
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(model.embed(["a boat"]), kept)


# Iterating


def test_embed_iter_gives_the_bits_of_embed(prompted: Embedder, passages: list[str]) -> None:
    plenty = " ".join(passages).split()
    texts = [" ".join(plenty[i : i + i % 11]) for i in range(2100)]
    whole = prompted.embed(texts)
    assert np.array_equal(np.stack(list(prompted.embed_iter(iter(texts)))), whole)
    assert np.array_equal(prompted.embed(texts, progress=True), whole)


def test_embed_iter_gives_the_bits_of_embed_for_the_trained_model(model: Embedder, passages: list[str]) -> None:
    assert np.array_equal(np.stack(list(model.embed_iter(passages[:30]))), model.embed(passages[:30]))


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda texts: (text for text in texts)])
def test_embed_iter_takes_any_iterable(prompted: Embedder, kind: Callable[[list[str]], Any]) -> None:
    texts = ["a", "b", "c d"]
    assert np.array_equal(list(prompted.embed_iter(kind(texts))), prompted.embed(texts))


def test_embed_iter_takes_no_text_before_it_must_and_one_window_at_most(prompted: Embedder) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "word"

    vectors = prompted.embed_iter(endless())
    assert taken == 0
    for given in range(1, 2051):
        next(vectors)
        assert taken <= (given + 1023) // 1024 * 1024
    vectors.close()  # type: ignore[attr-defined]


# The end


def test_a_closed_embedder_says_so(bundle: Path) -> None:
    model = Embedder.load(bundle)
    model.embed(["a", "b c", "d e f", "g h i j"])
    vectors = model.embed_iter(["a"])
    model.close()
    model.close()
    for texts in (["a"], ["a", "b c", "d e f", "g h i j"]):
        with pytest.raises(EmbedgeError, match="closed"):
            model.embed(texts)
    with pytest.raises(EmbedgeError, match="closed"):
        model.embed_query("a")
    with pytest.raises(EmbedgeError, match="closed"):
        next(vectors)
    with pytest.raises(EmbedgeError, match="closed"):
        next(model.embed_iter([]))
    with pytest.raises(EmbedgeError, match="closed"):
        model.count_tokens(["a"])


def test_the_number_of_threads_can_not_be_set(model: Embedder) -> None:
    with pytest.raises(AttributeError):
        model.threads = 3  # type: ignore[misc]


def test_a_with_block_closes_the_embedder_also_after_an_error(bundle: Path) -> None:
    with Embedder.load(bundle) as model:
        model.embed(["a"])
    with pytest.raises(EmbedgeError, match="closed"):
        model.embed(["a"])

    broken = Embedder.load(bundle)
    with pytest.raises(InputError), broken:
        broken.embed([HALF])
    with pytest.raises(EmbedgeError, match="closed"):
        broken.embed(["a"])
