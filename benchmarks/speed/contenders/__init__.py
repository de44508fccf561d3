"""What is timed. Each module has ``load(models, threads, knobs)``, which returns an :data:`Embed`, and these constants.

LABEL: its name in tables. ENVIRONMENT: whose packages it needs (``../requirements``). PACKAGES: whose versions to
record, the project's own first. FILES: what it needs of a model's directory. PREPARED_BY: the steps of
:mod:`benchmarks.speed.models` that make them. THREAD_SAFE: whether several threads may call it at once.
CANDIDATES: the :class:`Knobs` that its documentation leads to, as dictionaries, of which a search takes the fastest for
its tuned row; ``{}``, its defaults, may be one of them. Empty where there is nothing to tune.

The constants are literals, since the runner reads them without importing what the module imports.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Embed = Callable[[list[str]], Any]
"""Texts to their vectors, of length 1."""


class Knobs(NamedTuple):
    """How a contender is used on a list of texts. The defaults are those of the contender."""

    batch: int | None = None
    """Texts for each call of its model."""
    sort: bool = False
    """Whether it is given the texts in the order of their lengths."""
    processes: int | None = None
    """Processes that share a list of texts, each with a copy of the model."""

    def __str__(self) -> str:
        parts = [f"batch {self.batch}"] if self.batch else []
        parts += ["sorted"] if self.sort else []
        parts += [f"{self.processes} processes"] if self.processes else []
        return ", ".join(parts) or "defaults"


def by_length(embed: Embed) -> Embed:
    """``embed`` on the longest texts first; the vectors come in the order of the texts."""

    def embed_sorted(texts: list[str]) -> Any:
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        vectors = np.asarray(embed([texts[index] for index in order]))
        back = np.empty_like(vectors)
        back[order] = vectors
        return back

    return embed_sorted
