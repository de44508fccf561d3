"""What embedge costs where it is deployed. A module for each target, with ``measure(bundle) -> list[Row]``.

:class:`benchmarks.speed.environments.Unavailable` where something that a target needs is not on this machine.
"""

from typing import TypedDict


class Row(TypedDict):
    """The figures of one way to deploy a bundle; None where there is no such figure."""

    target: str
    """What is deployed where, as the table names it."""
    deployed_mb: float | None
    """All that is put there: the bundle, the library and what they need, in 1e6 bytes."""
    first_vector_s: float | None
    """From the start of the process, or of the page, to its first vector."""
    query_ms: float | None
    """A query of 16 tokens after that: the median."""
    peak_mb: float | None
    """The most memory that was resident at once, in 1e6 bytes."""
    how: str
    """In a few words: what ran it, and what else a reader must know."""
