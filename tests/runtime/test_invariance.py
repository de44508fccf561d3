"""The same text gives the same bits: alone, in any batch, in any order, on any number of threads."""

import random
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge.engine.plan import TOKENS_PER_RUN, plan


def texts_of_all_lengths(passages: list[str]) -> list[str]:
    words = " ".join(passages).split()
    return (
        [" ".join(words[i * 7 : i * 7 + i % 90]) for i in range(0, 90, 2)] + passages[:20] + ["", "one", "one two"] * 5
    )


@pytest.mark.parametrize("variant", ["int8", "fp32"])
@pytest.mark.parametrize("threads", [2, 3])
def test_mean_pooling_gives_the_same_bits_in_every_batch(
    bundle: Path, passages: list[str], variant: str, threads: int
) -> None:
    assert_same_bits(bundle, passages, variant, threads)


@pytest.mark.parametrize("variant", ["int8", "fp32"])
@pytest.mark.parametrize("threads", [2, 3])
def test_cls_pooling_gives_the_same_bits_in_every_batch(
    cls_bundle: Path, passages: list[str], variant: str, threads: int
) -> None:
    assert_same_bits(cls_bundle, passages, variant, threads)


def assert_same_bits(bundle: Path, passages: list[str], variant: str, threads: int) -> None:
    texts = texts_of_all_lengths(passages)
    with Embedder.load(bundle, variant=variant, threads=1) as single:
        expected = {text: single.embed([text])[0].tobytes() for text in texts}
    draw = random.Random(threads)
    with Embedder.load(bundle, variant=variant, threads=threads) as model:
        for _ in range(3):
            batch = draw.sample(texts, k=draw.randint(2, len(texts)))
            for text, vector in zip(batch, model.embed(batch), strict=True):
                assert vector.tobytes() == expected[text], text
        for text in draw.sample(texts, 10):
            assert model.embed([text])[0].tobytes() == expected[text], text


def test_a_query_without_prompt_has_the_bits_of_the_document(model: Embedder) -> None:
    assert model.embed_query("what runs at the edge?").tobytes() == model.embed(["what runs at the edge?"])[0].tobytes()


def test_every_text_is_in_one_group_of_its_own_length() -> None:
    draw = np.random.default_rng(0)
    for threads in (1, 2, 8):
        lengths = [int(n) for n in draw.integers(2, 60, 500)]
        groups = plan(lengths, threads, awake=False).groups
        assert sorted(index for group in groups for index in group) == list(range(500))
        assert all(len({lengths[index] for index in group}) == 1 for group in groups)
        assert all(len(group) == 1 or len(group) * lengths[group[0]] <= TOKENS_PER_RUN for group in groups)


def test_the_longest_texts_start_first() -> None:
    lengths = [5, 300, 7, 100, 5]
    assert [lengths[group[0]] for group in plan(lengths, 2, awake=False).groups] == [300, 100, 7, 5]


def test_few_short_texts_still_occupy_every_thread() -> None:
    assert len(plan([8] * 8, threads=4, awake=False).groups) == 4


def test_no_texts_need_no_groups() -> None:
    assert plan([], 2, awake=False).groups == []


@pytest.mark.parametrize("lengths", [[8], [8, 8], [7, 9], [16, 16], [32, 32], [30, 34], [8] * 4, [6, 7, 8, 9]], ids=str)
def test_a_short_list_takes_no_longer_than_its_texts_one_after_the_other(lengths: list[int]) -> None:
    """Each text alone is spread over all threads; while these wait busily for the next, so are those of the list."""
    groups, spread = plan(lengths, threads=2, awake=True)
    assert spread
    assert len(groups) == len(set(lengths))
    assert len(plan(lengths, threads=2, awake=False).groups) >= min(2, len(lengths))


@pytest.mark.parametrize("awake", [False, True])
def test_lists_that_fill_the_threads_run_side_by_side(awake: bool) -> None:
    assert not plan([128, 128], threads=2, awake=awake).spread
    assert not plan([8] * 64, threads=2, awake=awake).spread
    assert not plan(range(5, 15), threads=16, awake=awake).spread  # short, but of ten lengths
