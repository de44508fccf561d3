"""Which texts run together where those of any length can."""

import numpy as np
import pytest

from embedge.engine.packed import PACKED
from embedge.engine.plan import TOKENS_PER_RUN, plan_packed


def test_every_text_is_in_one_group_that_is_full_but_for_the_shortest_left() -> None:
    draw = np.random.default_rng(0)
    for threads in (1, 2, 8):
        lengths = [int(n) for n in draw.integers(2, 200, 500)]
        groups = plan_packed(lengths, threads, awake=False).groups
        assert sorted(index for group in groups for index in group) == list(range(500))
        sums = [sum(lengths[index] for index in group) for group in groups]
        assert all(len(group) == 1 or total <= TOKENS_PER_RUN for group, total in zip(groups, sums, strict=True))
        assert len(groups) <= 1.25 * sum(max(length, TOKENS_PER_RUN) / TOKENS_PER_RUN for length in sums)


def test_the_longest_texts_start_first() -> None:
    lengths = [5, 300, 7, 100, 5]
    assert plan_packed(lengths, 2, awake=False).groups == [[1], [3, 2, 0, 4]]


@pytest.mark.parametrize("awake", [False, True])
@pytest.mark.parametrize("lengths", [[8], [300], [7, 9], [8] * 16, [1, 100, 27]], ids=str)
def test_a_single_text_and_a_short_list_are_one_group_for_all_threads(lengths: list[int], awake: bool) -> None:
    for threads in (1, 2, 16):
        groups, spread = plan_packed(lengths, threads, awake=awake)
        assert spread
        assert [sorted(group) for group in groups] == [list(range(len(lengths)))]


def test_longer_lists_occupy_every_thread() -> None:
    for threads in (2, 4, 8):
        groups, spread = plan_packed([16] * 64, threads, awake=False)
        assert len(groups) >= threads
        assert not spread


@pytest.mark.parametrize("lengths", [[128, 1], [120, 9], [64] * 3, [512, 8, 8, 8]])
def test_lists_that_would_keep_one_thread_waiting_are_spread(lengths: list[int]) -> None:
    groups, spread = plan_packed(lengths, 2, awake=False)
    assert spread
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))


def test_no_texts_need_no_groups() -> None:
    assert plan_packed([], 2, awake=False).groups == []


def test_a_run_takes_the_tokens_of_its_texts_end_to_end() -> None:
    found = PACKED.inputs([[101, 102], [101, 7, 102], []], spread=2)
    assert found["input_ids"].tolist() == [101, 102, 101, 7, 102]
    assert found["offsets"].tolist() == [0, 2, 5, 5]
    assert (found["spread"].shape, found["spread"].item()) == ((), 2)
    assert all(value.dtype == np.int64 for value in found.values())
