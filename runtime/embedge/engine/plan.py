"""Which texts run together: lengths to groups of indices, and nothing else.

Of graphs of ONNX Runtime's operators, texts of equal length run together until a run holds ``TOKENS_PER_RUN`` tokens,
longer ones one at a time; the longest start first, so that no long one is left for the end. Groups run side by side on
the threads, or few of them one after the other, each spread over all threads. The graphs of ``embedge-kernels`` take
texts of any length together. So do padded batches (fp16, for GPUs).

Microseconds a token on one thread, by tokens in a run, with bge-small's architecture, int8, on two cores with
AVX512-VNNI that others use too (ONNX Runtime 1.32). Texts of 8 tokens: 415 (8 tokens, so one text), 310 (16), 244 (32),
206 (64), 178 (128), 169 (256). Texts of 32 tokens: 232 (32), 197 (64), 182 (128), 173 (256). Texts of 128 tokens: 192
one at a time. Beyond 128 tokens little is won, and short lists would not fill the threads.

Milliseconds for a short list on two threads while other programs kept both cores busy: one text after the other, each
spread; texts of equal length together, spread; side by side. Two texts of 8 tokens: 39, 27, 30. Two of 16: 67, 48, 52.
Of 7 and 9: 43, 35, 30. Right after a single text, whose threads still wait busily and take turns with those side by
side: 45, 26, 40 and 76, 45, 47 and 49, 49, 45; on free cores two of 16 took 10 one after the other and 12 side by side.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

TOKENS_PER_RUN = 128

# A group that is spread takes about so many times its share of one thread: 128 tokens 17.7 ms on one thread, 10.0 to
# 10.9 on two (AVX512-VNNI, by embedge-kernels).
_SPREADING = 1.2

# Runs of a short list up to which threads that are awake are given one after the other.
_FEW = 4


class Plan(NamedTuple):
    """Groups of indices of texts that run together, the longest first."""

    groups: list[list[int]]
    spread: bool
    """Whether to spread each group over all threads, one after the other, or to run them side by side."""


def plan(lengths: Sequence[int], threads: int, *, awake: bool) -> Plan:
    """A group holds at most ``TOKENS_PER_RUN`` tokens, or one text; less when that would leave a thread without work.

    Groups are spread that are half as many as threads. While these are ``awake``, waiting busily since they were spread
    over, a list of ``TOKENS_PER_RUN`` tokens at most is spread in up to 4 groups, so that it does not take longer than
    its texts one after the other.
    """
    total = sum(lengths)
    if awake and total <= TOKENS_PER_RUN:
        groups = _of_equal_length(lengths, TOKENS_PER_RUN)
        if len(groups) <= max(_FEW, threads // 2):
            return Plan(groups, spread=True)
    groups = _of_equal_length(lengths, min(TOKENS_PER_RUN, -(-total // threads)))
    return Plan(groups, spread=len(groups) <= max(1, threads // 2))


def _of_equal_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        by_length[length].append(index)
    groups = []
    for length in sorted(by_length, reverse=True):
        indices = by_length[length]
        size = max(1, budget // max(1, length))
        groups += [indices[start : start + size] for start in range(0, len(indices), size)]
    return groups


def plan_packed(lengths: Sequence[int], threads: int, *, awake: bool) -> Plan:
    """As :func:`plan`, of texts of any length, ``awake`` or not: each group is filled up with what still fits.

    Groups that would leave threads without work for long, side by side, are spread: one for few tokens, or several of
    which one is much longer than the rest.
    """
    total = sum(lengths)
    if total > TOKENS_PER_RUN and len(lengths) > 1:
        groups = _filled_up(lengths, min(TOKENS_PER_RUN, -(-total // threads)))
        sizes = [sum(lengths[index] for index in group) for group in groups]
        if _longest_share(sizes, threads) * threads <= _SPREADING * total:
            return Plan(groups, spread=False)
    return Plan(_filled_up(lengths, TOKENS_PER_RUN), spread=True)


def _longest_share(sizes: Sequence[int], threads: int) -> int:
    """Tokens of the thread that has most, where each takes the next of ``sizes`` when it is done."""
    shares = [0] * threads
    for size in sizes:
        heapq.heapreplace(shares, shares[0] + size)
    return max(shares)


def _filled_up(lengths: Sequence[int], budget: int) -> list[list[int]]:
    order = deque(sorted(range(len(lengths)), key=lambda index: -lengths[index]))
    groups: list[list[int]] = []
    while order:
        group = [order.popleft()]
        room = budget - lengths[group[0]]
        while order and lengths[order[-1]] <= room:
            index = order.popleft() if lengths[order[0]] <= room else order.pop()
            room -= lengths[index]
            group.append(index)
        groups.append(group)
    return groups


def plan_padded(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Groups of indices of texts to run together, padded to the longest of each; the longest first.

    A group holds at most ``tokens`` tokens, padding included, or one text. All but the last have a power of two of
    texts, so that there are few different shapes (see :mod:`.padded`).
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    while order:
        fitting = max(1, tokens // max(1, lengths[order[0]]))
        rows = min(len(order), 1 << (fitting.bit_length() - 1))
        groups.append(order[:rows])
        order = order[rows:]
    return groups
