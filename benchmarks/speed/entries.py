"""The rows of a run: each contender as it is by default, and tuned as its own documentation advises."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import Knobs
from benchmarks.speed.runner import constants_of, run_worker

_DEFAULTS = Knobs()


@dataclass(frozen=True)
class Entry:
    """A contender with its knobs. Of one contender's entries the goals are judged on the one that is ``tuned``."""

    contender: str
    constants: dict[str, Any]
    knobs: Knobs = _DEFAULTS
    tuned: bool = False

    @property
    def name(self) -> str:
        """Its name in results files."""
        return self.contender if self.knobs == _DEFAULTS else f"{self.contender}_tuned"

    @property
    def label(self) -> str:
        """Its name in tables."""
        label = str(self.constants["LABEL"])
        if self.knobs != _DEFAULTS:
            return f"{label}, tuned ({self.knobs})"
        return f"{label} (tuned: its defaults)" if self.tuned and self.constants["CANDIDATES"] else label

    def run(self, models: Path, threads: int, task: str) -> dict[str, Any]:
        """What its worker measured; see :func:`benchmarks.speed.runner.run_worker`."""
        return run_worker(self.contender, self.constants, models, threads, task, self.knobs)


def find(contender: str) -> Entry:
    """``contender`` as it is by default."""
    constants = constants_of(contender)
    return Entry(contender, constants, tuned=not constants["CANDIDATES"])


def search(default: Entry, models: Path, threads: int) -> dict[str, float]:
    """Texts per second of each of a contender's candidates, by the knobs in words, on a part of the corpus.

    Raises:
        Unavailable: a worker failed.
    """
    candidates = [Knobs(**knobs) for knobs in default.constants["CANDIDATES"]]
    return {
        str(knobs): round(replace(default, knobs=knobs).run(models, threads, "tune")["texts_per_s"], 1)
        for knobs in candidates
    }


def with_tuned(default: Entry, found: dict[str, float]) -> Sequence[Entry]:
    """``default`` and the fastest candidate of a search; ``default`` alone where that is the fastest."""
    if not found:
        return [default]
    fastest = max(found, key=lambda words: found[words])
    knobs = next(knobs for values in default.constants["CANDIDATES"] if str(knobs := Knobs(**values)) == fastest)
    tuned = replace(default, knobs=knobs, tuned=True)
    return [tuned] if knobs == _DEFAULTS else [default, tuned]
