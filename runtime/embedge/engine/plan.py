"""Which texts run together: lengths to groups of indices, and nothing else.

Texts of equal length run together until a run holds ``TOKENS_PER_RUN`` tokens, longer ones one at a time; the longest
start first, so that no long one is left for the end. Padded batches (fp16, for GPUs) are made of texts of any length.

Microseconds a token on one thread, by tokens in a run, with bge-small's architecture, int8, on two cores with
AVX512-VNNI that others use too (ONNX Runtime 1.32). Texts of 8 tokens: 415 (8 tokens, so one text), 310 (16), 244 (32),
206 (64), 178 (128), 169 (256). Texts of 32 tokens: 232 (32), 197 (64), 182 (128), 173 (256). Texts of 128 tokens: 192
one at a time. Beyond 128 tokens little is won, and short lists would not fill the threads.
"""

from collections import defaultdict
from collections.abc import Sequence

TOKENS_PER_RUN = 128


def plan(lengths: Sequence[int], threads: int) -> list[list[int]]:
    """Groups of indices of texts to run together: equal lengths, the longest first.

    A group holds at most ``TOKENS_PER_RUN`` tokens, or one text; less when that would leave a thread without work.
    """
    budget = min(TOKENS_PER_RUN, -(-sum(lengths) // threads))
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        by_length[length].append(index)
    groups = []
    for length in sorted(by_length, reverse=True):
        indices = by_length[length]
        size = max(1, budget // max(1, length))
        groups += [indices[start : start + size] for start in range(0, len(indices), size)]
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
