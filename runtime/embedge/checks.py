"""Whether a bundle has the bytes that were sealed, and whether this machine computes it right."""

import os
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from embedge import fingerprint
from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.errors import ProviderError
from embedge.loaded import resolve_providers
from embedge.reranker import Reranker


class Check(NamedTuple):
    """What :func:`verify` found of one variant."""

    variant: str
    cosine: float | None
    """The smallest cosine to the sealed vectors; ``None`` where the variant can't run here."""
    smallest: float
    """The minimum that :attr:`cosine` must reach, by what was measured between CPUs."""
    reason: str | None
    """Why the variant can't run here."""

    @property
    def passed(self) -> bool:
        """Whether the vectors are right; that nothing runs a variant here is not the bundle's fault."""
        # Written so that NaN fails.
        return self.cosine is None or self.cosine >= self.smallest


def verify(path: str | os.PathLike[str], *, providers: str | Sequence[str] | None = None) -> list[Check]:
    """Hash every file of the bundle at ``path``, then compare each variant's vectors with those it was sealed with.

    >>> from embedge import verify
    >>> [check.variant for check in verify("models/bge-small-en") if check.passed and check.cosine is not None]
    ['int8']

    Args:
        path: a directory that ``embedge export`` wrote, or the name of a bundle in the store.
        providers: as for :meth:`embedge.Embedder.load`.

    Returns:
        A :class:`Check` of each variant: :attr:`Check.passed`, and whether it was run, which it is where
        :attr:`Check.cosine` is not ``None``.

    Raises:
        BundleError: no bundle there, or (``BundleCorrupt``) its bytes are not the sealed ones.
        ProviderError: a provider that is unavailable here.
        TypeError: an argument of the wrong type.
    """
    resolved = resolve_providers(providers)
    bundle = Bundle.open(path)
    bundle.verify()
    return [_check(bundle, name, resolved) for name in bundle.manifest.variants]


def _check(bundle: Bundle, name: str, providers: Sequence[str]) -> Check:
    variants = bundle.manifest.variants
    try:
        choice = choose(variants, name, providers[0], capabilities())
    except ProviderError as exc:
        return Check(name, None, fingerprint.smallest_cosine(variants[name]), str(exc))
    smallest = fingerprint.smallest_cosine(variants[name], "kernels" in choice.graph.needs)
    kind = Reranker if bundle.manifest.task == "rerank" else Embedder
    with kind.start(bundle, choice, providers=providers) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the texts are truncated as they were when they were sealed
        return Check(name, fingerprint.cosine(model), smallest, None)
