"""Queries and texts to scores."""

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embedge.errors import InputError
from embedge.inputs import check_surrogates, plain_pairs, plain_texts, whole_number
from embedge.loaded import LoadedModel, OnProgress, Overflow
from embedge.vectors import FloatArray


@dataclass(frozen=True)
class Ranked:
    """A text that was ranked."""

    index: int
    """Its place in the list that was passed."""
    score: float


class Reranker(LoadedModel):
    """Scores of how well texts answer a query. Made by :meth:`load`; any number of threads may use one at once.

    A reranker reads query and text together, so it is more accurate than vectors and much slower: let it rank the best
    few dozens that a search by vectors found. The score of a pair does not depend on the other pairs of a call: the
    same bits alone and in any list, on any number of threads. Pickling and copies are as :class:`Embedder`'s.
    """

    _TASK = "rerank"
    _INSTEAD = "Embedder"

    def __repr__(self) -> str:
        return (
            f"Reranker({os.fspath(self._bundle.path)!r}, variant={self.variant!r}, max_tokens={self.max_tokens}, "
            f"threads={self.threads})"
        )

    @functools.cached_property
    def squashed(self) -> bool:
        """Whether scores have gone through a sigmoid, so that they lie between 0 and 1."""
        if self.manifest.squashed is not None:
            return self.manifest.squashed
        # Manifests of earlier bundles don't say so. This is an operator's type in the graph's file, as protobuf has it:
        # its field and its length first. No encoder of which rerankers are exported has the operator anywhere else.
        graph = self.manifest.variants[self.variant].graphs[0]
        return b"\x22\x07Sigmoid" in self._bundle.file(graph.file).read_bytes()

    def scores(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        on_overflow: Overflow = "truncate",
        progress: bool | OnProgress = False,
    ) -> FloatArray:
        """The score of each pair of a query and a text; larger is better. Shape: ``(n,)`` for n pairs.

        Args:
            pairs: any iterable of ``(query, text)``.
            on_overflow: what to do with pairs of more than :attr:`max_tokens` tokens: ``"truncate"`` the longer of
                the two, which is the text in most cases, with one warning that says how many, or raise an ``"error"``.
            progress: as for :meth:`Embedder.embed`.

        Raises:
            InputError: a member that is not two ``str``, half of a surrogate pair, or a pair too long with
                ``on_overflow="error"``. The message names its index.
            TypeError: not an iterable of pairs; an option of the wrong type.
            ValueError: an option outside its choices.
        """
        members = list(plain_pairs(pairs))
        return self._score(members, on_overflow, progress, list_name="pairs")

    def rank(
        self,
        query: str,
        texts: Iterable[str],
        *,
        top: int | None = None,
        on_overflow: Overflow = "truncate",
        progress: bool | OnProgress = False,
    ) -> list[Ranked]:
        """The texts from the best answer to ``query`` down, the first ``top`` of them; equal scores in their order.

        Options and errors are those of :meth:`scores`; messages name the query, or the index of the text.
        """
        if not isinstance(query, str):
            raise TypeError(f"query is {type(query).__name__}, not str")
        top = None if top is None else whole_number("top", top)
        if top is not None and top < 0:
            raise ValueError(f"top={top}: give how many texts to return, or None for all")
        query = str.__str__(query)
        check_surrogates("query", query)
        members = [(query, text) for text in plain_texts(texts)]
        scores = self._score(members, on_overflow, progress, list_name="texts")
        best = (-scores).argsort(kind="stable")[:top]
        return [Ranked(int(index), float(scores[index])) for index in best]

    def _score(
        self, pairs: Sequence[tuple[str, str]], on_overflow: Overflow, progress: bool | OnProgress, *, list_name: str
    ) -> FloatArray:
        """What :meth:`scores` returns; ``list_name`` is what messages call the caller's list."""
        self._check_call(on_overflow, progress)
        run = functools.partial(self._score_some, on_overflow=on_overflow, list_name=list_name)
        scores, truncated = self._run_all(pairs, run, progress)
        self._warn_truncated(truncated, "pair")
        return scores[:, 0]

    def _score_some(
        self, pairs: Sequence[tuple[str, str]], first: int, *, on_overflow: Overflow, list_name: str
    ) -> tuple[FloatArray, int]:
        """Scores of ``pairs``, the first of which is number ``first`` of its call, and how many were truncated."""
        encoded = self._tokenizer.encode_pairs(pairs, first=first, list_name=list_name)
        if encoded.truncated and on_overflow == "error":
            raise InputError(
                f"the pair at {list_name}[{first + encoded.truncated[0]}] has more than the model's {self.max_tokens} "
                "tokens; shorten it, or pass on_overflow='truncate'"
            )
        return self._engine.run(encoded.ids), len(encoded.truncated)
