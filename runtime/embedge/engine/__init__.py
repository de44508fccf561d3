"""How a variant is computed: token ids to vectors, by ONNX Runtime.

:func:`load` gives an :class:`Engine` for what :mod:`.choose` chose by the machine's :mod:`.capabilities`: groups of
texts side by side on threads (:mod:`.grouped`), of equal length (:mod:`.ragged`) or of any (:mod:`.packed`), or padded
batches (:mod:`.padded`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from embedge.bundle import Bundle
    from embedge.engine.calls import Calls
    from embedge.engine.choose import Choice
    from embedge.stamps import Stamp
    from embedge.vectors import FloatArray


class Engine(Protocol):
    """Token ids to vectors; any number of threads may call one at once."""

    calls: "Calls"
    """The calls under way; closing waits for them, then gives the sessions back."""

    batch_tokens: int
    """About as many tokens as a call should have that others wait for: fewer leave the machine partly idle."""

    @property
    def fallback(self) -> str | None:
        """What of the model runs on the CPU although it was not asked for; ``None`` where nothing does."""

    def run(self, ids: Sequence[Sequence[int]]) -> "FloatArray":
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""


def load(
    bundle: "Bundle",
    choice: "Choice",
    *,
    threads: int,
    providers: Sequence[str],
    sealed: "Mapping[str, Stamp] | None" = None,
    low_memory: bool = False,
) -> Engine:
    """The engine for ``choice`` on ``providers``, in ONNX Runtime's names.

    ``sealed`` are the stamps of the files when they had their sealed bytes; without it, those of now. With
    ``low_memory`` no weights are kept twice.

    Raises:
        BundleError: the graph or its weights can't be loaded.
        ProviderError: it can't be loaded or run on these providers, or they take none of its nodes.
    """
    from embedge.engine.sessions import SessionMaker

    manifest = bundle.manifest
    maker = SessionMaker(bundle, choice, providers, sealed, low_memory=low_memory)
    if choice.graph.execution == "padded":
        from embedge.engine.padded import PaddedEngine  # not needed at most starts

        return PaddedEngine(maker, threads=threads, width=manifest.dimensions, max_tokens=manifest.max_tokens)
    from embedge.engine.grouped import GroupedEngine
    from embedge.engine.packed import PACKED
    from embedge.engine.ragged import RAGGED

    grouping = PACKED if choice.graph.execution == "packed" else RAGGED
    integer = bool(manifest.variants[choice.variant].codes)
    return GroupedEngine(maker, grouping, threads=threads, width=manifest.dimensions, integer=integer)
