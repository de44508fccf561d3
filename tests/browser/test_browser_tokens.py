"""tokenizer.js in a browser: the library's tokens."""

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
import tokenizers

from tests.browser.conftest import tab

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.page

TokensOf: TypeAlias = Callable[[str, list[str]], list[list[int]]]


@pytest.fixture(scope="module")
def tokens_of(browser: "Browser", tiny_page: Path) -> "Iterator[TokensOf]":
    """Ids of texts by a ``tokenizer.json``, in the browser."""
    encode = """async ([definition, texts]) => {
        const { BundleTokenizer } = await import("./tokenizer.js");
        const { Tokenizer } = await import("./vendor/tokenizers.min.mjs");
        const tokenizer = new BundleTokenizer(Tokenizer, JSON.parse(definition), { max_tokens: 1e9 });
        return JSON.parse(texts).map((text) => tokenizer.encode(text).ids);
    }"""
    with tab(browser, tiny_page) as (page, _):
        yield lambda definition, texts: page.evaluate(encode, [definition, json.dumps(texts)])


@pytest.fixture(scope="module")
def strings(passages: list[str]) -> list[str]:
    """10,000: passages, any Unicode, CJK, emoji, accents, control characters, added tokens, white space, long words."""
    draw = random.Random(0)
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    assigned = [letter for letter in every if unicodedata.category(letter) not in ("Cn", "Co")]
    marks = [letter for letter in assigned if unicodedata.category(letter).startswith("M")]
    words = [word for text in passages for word in text.split()]
    control = [*map(chr, range(32)), *map(chr, range(127, 160)), *"\u00ad\u200b\u200d\u2028\u2060\ufeff\ufffd\uffff"]
    spaces = list(" \t\n\r\x0b\x0c\x85\u00a0\u1680\u2000\u2009\u202f\u205f\u3000")
    cjk = every[0x4E00:0x9FFF] + every[0x3040:0x3100] + every[0xAC00:0xD7A4]
    rare = [letter for letter in assigned if 0x1F000 <= ord(letter) < 0x33000 or 0xF900 <= ord(letter) < 0xFB00]
    added = ["[MASK]", "[mask]", " [SEP] ", "[CLS]", "<mask>", " <s>", ""]
    pools = [
        [words, [" "]], [assigned], [every], [assigned[:600]], [assigned[:600], marks, [" "]], [words, control, spaces],
        [words, rare, [" "]], [cjk, rare, ["、", " ", "abc"]], [words, added, [" "]], [spaces], [["a", "é", "1", "Σ"]],
        [every[0x370:0x600], [" "]],
    ]  # fmt: skip
    made = list(passages)
    while len(made) < 10_000:
        chosen = pools[len(made) % len(pools)]
        made.append("".join(draw.choice(draw.choice(chosen)) for _ in range(draw.choice([1, 5, 20, 40, 150]))))
    return made


@pytest.mark.parametrize(
    ("kind", "count"), [("word pieces", 10_000), ("cased word pieces", 2000), ("byte pairs", 2000)]
)
def test_strings_of_all_kinds_have_the_tokens_of_the_library(
    kind: str, count: int, tokens_of: TokensOf, tiny: Path, strings: list[str], passages: list[str]
) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    if kind == "cased word pieces":
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    if kind == "byte pairs":
        tokenizer = byte_pairs(passages)
    texts = strings[-count:]
    found = tokens_of(tokenizer.to_str(), texts)
    different = [text for text, ids in zip(texts, found, strict=True) if ids != tokenizer.encode(text).ids]
    assert different == []


def byte_pairs(passages: list[str]) -> tokenizers.Tokenizer:
    """As RoBERTa has them."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", tokenizers.AddedToken("<mask>", lstrip=True, special=True)]
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(passages, trainer)
    made.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("pre_tokenizer", {"type": "Metaspace"}, "of a kind that this page does not read as Python does"),
        ("normalizer", {"clean_text": False}, "a normalizer that keeps control characters"),
        ("added_tokens", {"single_word": True}, r'the added token "\[PAD\]" for whole words only'),
        ("added_tokens", {"special": False}, r'the added token "\[PAD\]", neither special nor normalized'),
        ("added_tokens", {"id": 7}, r'the added token "\[PAD\]" with two ids'),
    ],
)
def test_what_the_page_would_read_in_another_way_is_refused(
    place: str, changes: dict[str, object], message: str, tokens_of: TokensOf, tiny: Path
) -> None:
    definition = json.loads((tiny / "tokenizer.json").read_bytes())
    changed = definition[place][0] if place == "added_tokens" else definition[place]
    changed.update(changes)
    with pytest.raises(Exception, match=message):
        tokens_of(json.dumps(definition), ["a"])


def test_byte_pairs_with_a_mark_at_the_end_of_words_are_refused(tokens_of: TokensOf, passages: list[str]) -> None:
    definition = json.loads(byte_pairs(passages).to_str())
    definition["model"]["end_of_word_suffix"] = "</w>"
    with pytest.raises(Exception, match="byte pairs with a mark at the end of words"):
        tokens_of(json.dumps(definition), ["a"])
