"""The texts that every contender embeds: queries and documents of known length, and a corpus of real paragraphs.

The corpus is Python's own language reference, which every Python carries: nothing is fetched, everyone has the same.
"""

import pydoc_data.topics
import random
import re

# Each is one token of BERT's English vocabulary, so the number of tokens is known without a tokenizer.
_WORDS = (
    "the river house small water machine learning people city where what runs edge light morning history garden "
    "music school paper road train winter summer bread stone market island doctor letter animal forest memory "
    "kitchen window computer science number question answer story night world company engine metal green north "
    "village ship"
)
_CORPUS = 150
_FIDELITY = 400


def text_of(tokens: int, seed: int) -> str:
    """A text of ``tokens`` tokens, the two that enclose it included."""
    draw, words = random.Random(f"{tokens} {seed}"), _WORDS.split()
    return " ".join(draw.choice(words) for _ in range(tokens - 2))


def texts_of(tokens: int, count: int) -> list[str]:
    """``count`` different texts of ``tokens`` tokens."""
    return [text_of(tokens, seed) for seed in range(count)]


QUERY = text_of(12, 0)
"""What rerankers score texts for: 10 tokens, without those that enclose it."""


def candidates() -> dict[str, list[str]]:
    """32 texts that a reranker scores for :data:`QUERY`: of 100 tokens each, and paragraphs of the corpus."""
    return {"of_100_tokens": texts_of(102, 32), "paragraphs": corpus()[::4][:32]}


def corpus() -> list[str]:
    """150 paragraphs of 3 words to some hundred."""
    return _draw(_CORPUS)


def tuning_texts() -> list[str]:
    """Every third paragraph of the corpus, on which the fastest batch is looked for: to the advantage of the tuned."""
    return corpus()[::3]


def calibration_texts() -> list[str]:
    """300 further paragraphs, for contenders that are calibrated."""
    taken = set(corpus()) | set(fidelity_texts())
    return [text for text in _paragraphs() if text not in taken][::4][:300]


def _paragraphs() -> list[str]:
    paragraphs = {
        " ".join(paragraph.split())
        for topic in pydoc_data.topics.topics.values()
        for paragraph in re.split(r"\n\s*\n", topic)
        if len(paragraph.split()) >= 3
    }
    return sorted(paragraphs)


def fidelity_texts() -> list[str]:
    """Of 400 paragraphs those with at most 400 characters, which no contender truncates."""
    return [text for text in _draw(_FIDELITY) if len(text) <= 400]


def _draw(count: int) -> list[str]:
    """Paragraphs drawn evenly from the alphabetical list of all."""
    ordered = _paragraphs()
    return [ordered[index * len(ordered) // count] for index in range(count)]
