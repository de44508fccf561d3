"""Long texts are read in pieces, and have the tokens of the whole, whatever kind of tokenizer reads them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, WhitespaceSplit

import embedge.pieces
import embedge.tokenizer
from embedge.cuts import find_cuts
from embedge.manifest import TokenizerFacts
from embedge.tokenizer import Tokenizer
from tests.cases import ROOT

FACTS = TokenizerFacts(before=(), after=(), truncation_side="right")
SENTENCEPIECE = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]


def pairs(splitter: Any, normalizer: Any = None, added: list[AddedToken] | None = None) -> tokenizers.Tokenizer:
    """Byte pairs, as RoBERTa and ModernBERT have them."""
    return train(tokenizers.Tokenizer(models.BPE()), splitter, normalizer, added or [AddedToken("<mask>", lstrip=True)])


def unigrams(splitter: Any, normalizer: Any = None) -> tokenizers.Tokenizer:
    """Unigrams, as XLM-R has them."""
    added = [AddedToken("<mask>", lstrip=True), AddedToken("<s>", rstrip=True)]
    return train(tokenizers.Tokenizer(models.Unigram()), splitter, normalizer, added)


def train(
    tokenizer: tokenizers.Tokenizer, splitter: Any, normalizer: Any, added: list[AddedToken]
) -> tokenizers.Tokenizer:
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    passages = (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").split("\n\n")
    # Tokens that span words, which a splitter has to rule out.
    options: dict[str, Any] = {"vocab_size": 600, "special_tokens": added, "show_progress": False}
    kind: Any = trainers.BpeTrainer(**options, initial_alphabet=ByteLevel.alphabet())
    if isinstance(tokenizer.model, models.Unigram):
        kind = trainers.UnigramTrainer(**options, unk_token="<unk>")
    tokenizer.train_from_iterator(passages[:100], kind)
    return tokenizer


def bert(chinese: bool) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=chinese)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    passages = (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").split("\n\n")
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[UNK]", "[MASK]"], show_progress=False)
    tokenizer.train_from_iterator(passages[:100], trainer)
    return tokenizer


KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "BERT": lambda: bert(True),
    "BERT that keeps Chinese words": lambda: bert(False),
    "RoBERTa": lambda: pairs(ByteLevel(add_prefix_space=False)),
    "RoBERTa with a space in front": lambda: pairs(ByteLevel(add_prefix_space=True)),
    "ModernBERT": lambda: pairs(
        ByteLevel(add_prefix_space=False), normalizers.NFC(), [AddedToken("  ", normalized=True), AddedToken("<|x|>")]
    ),
    "XLM-R": lambda: unigrams(
        pre_tokenizers.Sequence([WhitespaceSplit(), Metaspace()]), normalizers.Sequence(SENTENCEPIECE)
    ),
    "SentencePiece": lambda: unigrams(Metaspace(), normalizers.Sequence(SENTENCEPIECE)),
    "SentencePiece without normalizer": lambda: unigrams(Metaspace()),
    "SentencePiece, marked once": lambda: unigrams(Metaspace(prepend_scheme="first"), normalizers.Lowercase()),
    "SentencePiece, marked never": lambda: unigrams(Metaspace(prepend_scheme="never")),
}

# Letters that combine, odd white space, contractions, tokens that take the space beside them, other scripts.
PARTS = [
    *("harbour", "a", "don't", "we'll", "'s", "3.14", "x1", "ß", "İ", "Σ", "é", "e\u0301", "\u0301", "ﾞ", "ﬁ", "½"),
    *(" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u200b", "\x1c", "\x85"),
    *(
        "<mask>",
        "<s>",
        "[MASK]",
        "<|x|>",
        "<unk>",
        "▁",
        "▁▁",
        "東京",
        "。",
        "の",
        "ガ",
        "한국",
        "שלום",
        "مرحبا",
        "नमस्ते",
    ),
    *(".", ",", "!", "'", "-", "_", "👩🏽‍🚀", "\0", "\ufeff", "Ġ", "Привет", "Ünï"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.sampled_from(["word ", "of the ", "東京 "])), max_size=40).map(
    "".join
)


@pytest.fixture(params=KINDS, scope="module")
def whole(request: pytest.FixtureRequest) -> tokenizers.Tokenizer:
    """The tokenizers library's own reading."""
    return KINDS[request.param]()


@pytest.fixture
def pieces_of(whole: tokenizers.Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tokenizer]:
    """The project's reading, with pieces of 8 characters in windows of 20."""
    monkeypatch.setattr(embedge.pieces, "_PIECE_CHARS", 8)
    monkeypatch.setattr(embedge.tokenizer, "WINDOW_CHARS", 20)
    whole.save(str(tmp_path / "tokenizer.json"))
    return lambda limit=10**6, facts=FACTS: Tokenizer(tmp_path / "tokenizer.json", limit, facts)


def test_pieces_have_the_tokens_of_the_whole(whole: tokenizers.Tokenizer, pieces_of: Callable[..., Tokenizer]) -> None:
    tokenizer = pieces_of()
    cut = 0

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(TEXTS)
    @example("the harbour is closed in winter " * 4)
    @example("a <mask> b <s> c")
    def check(text: str) -> None:
        nonlocal cut
        pieces = list(tokenizer._cutter.pieces(text))
        assert "".join(pieces) == text
        ids = [token for piece in pieces for token in whole.encode(piece, add_special_tokens=False).ids]
        assert ids == whole.encode(text, add_special_tokens=False).ids
        assert tokenizer.count([text, "", text]) == [len(ids), 0, len(ids)]
        cut += len(pieces) - 1

    check()
    assert cut > 50


@pytest.mark.parametrize("side", ["right", "left"])
def test_truncated_texts_have_the_tokens_of_either_end_of_the_whole(
    whole: tokenizers.Tokenizer, pieces_of: Callable[..., Tokenizer], side: Any
) -> None:
    tokenizer = pieces_of(3, FACTS._replace(truncation_side=side))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(["", "query: ", "x"]))
    def check(texts: list[str], prompt: str) -> None:
        texts = [text * 8 for text in texts]  # 192 characters and more are cut before they are read
        expected = [whole.encode(prompt + text, add_special_tokens=False).ids for text in texts]
        encoded = tokenizer.encode(texts, prompt=prompt)
        assert encoded.truncated == [index for index, ids in enumerate(expected) if len(ids) > 3]
        assert encoded.ids == [ids[:3] if side == "right" else ids[-3:] for ids in expected]

    check()


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_read_of_a_truncated_text_lies_where_its_tokens_lie_in_the_whole(
    whole: tokenizers.Tokenizer, pieces_of: Callable[..., Tokenizer], side: Any
) -> None:
    tokenizer = pieces_of(3)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(["", "query: ", "x"]))
    def check(texts: list[str], prompt: str) -> None:
        texts = [text * 8 for text in texts]
        for text, reading in zip(texts, tokenizer.readings(texts, prompt=prompt, side=side), strict=True):
            offsets = whole.encode(prompt + text, add_special_tokens=False).offsets
            span = (0, len(text))
            if len(offsets) > 3 and side == "right":
                span = (0, max(0, offsets[2][1] - len(prompt)))
            elif len(offsets) > 3:
                span = (max(0, offsets[-3][0] - len(prompt)), len(text))
            assert reading == (len(offsets), *span)

    check()


NOT_CUT: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "tokens over words": lambda: unigrams(Metaspace(split=False)),
    "no splitter": lambda: unigrams(None),
    "bytes of the whole text": lambda: pairs(ByteLevel(use_regex=False)),
    "a rule of its own": lambda: pairs(pre_tokenizers.Split(Regex(r"\d+"), "isolated")),
    "a normalizer over words": lambda: pairs(ByteLevel(), normalizers.Replace("a b", "ab")),
    "an added token of a word": lambda: pairs(ByteLevel(), None, [AddedToken("word", rstrip=True)]),
    "an added token of two words": lambda: pairs(ByteLevel(), None, [AddedToken("<a b>")]),
    "an added token of a space": lambda: pairs(ByteLevel(), None, [AddedToken(" ")]),
}


@pytest.mark.parametrize("kind", NOT_CUT)
def test_a_text_is_not_cut_where_its_tokens_might_change(kind: str) -> None:
    assert find_cuts(NOT_CUT[kind]()) is None


MEASURE = """if True:
    import re, sys
    from pathlib import Path
    from embedge.manifest import TokenizerFacts
    from embedge.tokenizer import Tokenizer
    facts = TokenizerFacts(before=(), after=(), truncation_side=sys.argv[3])
    tokenizer = Tokenizer(Path(sys.argv[1]), 512, facts)
    sentence = "The harbour is closed in winter and the ferry does not run "
    texts = {
        "long": [sentence * (2_000_000 // len(sentence))],
        "many": [sentence * (16_000 // len(sentence))] * 250,
    }[sys.argv[2]]
    tokenizer.encode([sentence * 100]), tokenizer.count([sentence * 100])
    # Not getrusage, whose peak is that of the process this one was started from.
    peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    before = peak()
    assert {len(ids) for ids in tokenizer.encode(texts).ids} == {512}
    assert min(tokenizer.count(texts[:10])) > 512
    print((peak() - before) * 1024 // 1_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
@pytest.mark.parametrize(
    ("kind", "texts", "side"),
    [
        ("RoBERTa", "long", "right"),
        ("RoBERTa", "long", "left"),
        ("RoBERTa", "many", "right"),
        ("XLM-R", "long", "right"),
    ],
)
def test_long_texts_and_long_lists_fit_in_little_memory(tmp_path: Path, kind: str, texts: str, side: str) -> None:
    """Of 500 bytes a token, 2 million characters at once would take 250 MB; the list takes 100 MB in one window."""
    KINDS[kind]().save(str(tmp_path / "tokenizer.json"))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "tokenizer.json"), texts, side]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < (120 if texts == "long" else 60)
