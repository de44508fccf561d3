"""Whether a bundle has the bytes that were sealed, and whether this machine computes it right."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from embedge import fingerprint
from embedge.bundle import Bundle
from embedge.embedder import start
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.engine.cpus import cpu_budget
from embedge.engine.ort import CPU
from embedge.errors import ProviderError


class Check(NamedTuple):
    """What became of one variant."""

    variant: str
    cosine: float | None
    """The least to the sealed vectors; ``None`` where the variant can't run here."""
    smallest: float
    """What :attr:`cosine` has to be at the least, by what was measured between CPUs."""
    reason: str | None
    """Why the variant can't run here."""

    @property
    def passed(self) -> bool:
        """Whether the vectors are right; that nothing runs a variant here is not the bundle's fault."""
        # Written so that NaN fails.
        return self.cosine is None or self.cosine >= self.smallest


def verify(path: str | os.PathLike[str], *, providers: Sequence[str] | None = None) -> list[Check]:
    """Hash every file of the bundle at ``path``, then compare each variant's vectors with those it was sealed with.

    ``providers`` are those of :meth:`embedge.Embedder.load`. Look at :attr:`Check.passed` of each.

    Raises:
        BundleError: no bundle there, or (``BundleCorrupt``) its bytes are not the sealed ones.
        ProviderError: a provider that can't be had here.
    """
    resolved = [CPU]
    if providers is not None:
        from embedge.engine.providers import resolve

        resolved = resolve(providers)
    bundle = Bundle.open(path)
    bundle.verify()
    return [_check(bundle, name, resolved) for name in bundle.manifest.variants]


def _check(bundle: Bundle, name: str, providers: Sequence[str]) -> Check:
    variants = bundle.manifest.variants
    smallest = fingerprint.smallest_cosine(variants[name])
    try:
        choice = choose(variants, name, providers[0], capabilities())
    except ProviderError as exc:
        return Check(name, None, smallest, str(exc))
    with start(bundle, choice, threads=cpu_budget().threads, providers=providers) as model:
        return Check(name, fingerprint.cosine(model), smallest, None)
