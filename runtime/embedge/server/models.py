"""The models that are served, and which one a request means."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast
from urllib.parse import quote

from embedge.embedder import Embedder
from embedge.loaded import LoadedModel
from embedge.requests import Refused
from embedge.reranker import Reranker

_Model = TypeVar("_Model", bound=LoadedModel, covariant=True)


@dataclass(frozen=True)
class Served(Generic[_Model]):
    """A model and what clients call it."""

    name: str
    model: _Model
    fingerprint: str
    """Which vectors these are: those of equal fingerprints may be compared. The variant and 16 digits of a hash."""
    since: int
    """When the server started, in seconds since 1970."""

    @property
    def header(self) -> str:
        """The name as a header can have it: percent-encoded."""
        return quote(self.name, safe="/:@+,=")


class Models:
    """Loaded models by the names that clients use."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        """A model is known by the id of its checkpoint, the last part of that, and the name of its directory.

        The latter two only where no other model has the same.

        Raises:
            ValueError: no model, or two with one name.
        """
        if not models:
            raise ValueError("no model to serve")
        ids = [model.manifest.source.id for model in models]
        # Two variants or exports of one checkpoint are told apart by their directories.
        names = [name if ids.count(name) == 1 else model.path.name for name, model in zip(ids, models, strict=True)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two bundles are called {name}: rename the directory of one")
        now = int(time.time())
        self._served = [
            Served(name, model, _fingerprint(model), now) for name, model in zip(names, models, strict=True)
        ]
        for model in models:
            if isinstance(model, Reranker):
                _ = model.squashed  # read now, while the bundle is the one that was loaded
        self._by_name = {served.name: served for served in self._served}
        shorter = [(one, {one.model.path.name, one.name.rpartition("/")[2]}) for one in self._served]
        counts = Counter(alias for _, aliases in shorter for alias in aliases)
        for served, aliases in shorter:
            for alias in aliases:
                if counts[alias] == 1:  # one that two models have would mean either
                    self._by_name.setdefault(alias, served)

    def __iter__(self) -> Iterator[Served[LoadedModel]]:
        return iter(self._served)

    def get(self, name: str) -> Served[LoadedModel]:
        """The model ``name``; ``Refused`` where there is none."""
        # Clients of Ollama may put a tag behind a name.
        found = self._by_name.get(name.removesuffix(":latest"))
        if found is None:
            have = ", ".join(served.name for served in self)
            raise Refused("unknown_model", f"there is no model {name!r} here, but: {have}", field="model")
        return found

    def any(self, name: str | None) -> Served[LoadedModel]:
        """The model ``name``, else the only embedder, or without any the only reranker; ``Refused`` as for those."""
        if name is not None:
            return self.get(name)
        embeds = [isinstance(served.model, Embedder) for served in self]
        return self.embedder(None) if True in embeds else self.reranker(None)

    def embedder(self, name: str | None) -> Served[Embedder]:
        """The embedder ``name``, or the only one; ``Refused`` where there is none of the name, or it is a reranker."""
        return self._find(name, Embedder, "embedding")

    def reranker(self, name: str | None) -> Served[Reranker]:
        """The reranker ``name``, or the only one; ``Refused`` as for :meth:`embedder`."""
        return self._find(name, Reranker, "reranking")

    def _find(self, name: str | None, kind: type[_Model], task: str) -> Served[_Model]:
        if name is not None:
            served = self.get(name)
            if not isinstance(served.model, kind):
                raise Refused("unknown_model", f"{name!r} is not for {task}", field="model")
            return cast(Served[_Model], served)
        fitting = [served for served in self if isinstance(served.model, kind)]
        if len(fitting) == 1:
            return self._find(fitting[0].name, kind, task)
        have = ", ".join(served.name for served in fitting) or "none"
        raise Refused("unknown_model", f"the request names no model; models for {task} here: {have}", field="model")


def _fingerprint(model: LoadedModel) -> str:
    digest = hashlib.sha256(f"{model.manifest.identity()} {model.variant}".encode()).hexdigest()
    return f"{model.variant}-{digest[:16]}"
