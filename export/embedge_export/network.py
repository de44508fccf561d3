"""The network of a checkpoint on its way into a bundle: what an export needs of it, whichever way its graph is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from embedge_export import quantize
from embedge_export.checkpoint import Checkpoint
from embedge_export.checkpoint.weights import load_encoder
from embedge_export.encoder import Encoder, Head
from embedge_export.graph import cpu
from embedge_export.graph.builder import GraphBuilder
from embedge_export.reference import equations
from embedge_export.reference.forward import Array


class Network(Protocol):
    """A network with its head: :class:`HandWritten`, or :class:`embedge_export.traced.network.Traced`."""

    @property
    def description(self) -> str:
        """Its shape in words, for the line that is shown while it is written."""

    @property
    def origin(self) -> str:
        """Where the graph comes from, in words."""

    @property
    def reference(self) -> str:
        """What :meth:`embed` computes with, in words."""

    @property
    def dimensions(self) -> int:
        """The width of its vectors."""

    @property
    def head(self) -> Head:
        """What makes one vector of its tokens'."""

    def author(self, *, unsigned: bool = False) -> GraphBuilder:
        """Its graph, ``input_ids`` ``(batch, tokens)`` -> ``embedding`` ``(batch, dimensions)``.

        ``unsigned`` matters where it is quantized only, see :func:`embedge_export.graph.cpu.author`.
        """

    def quantize(self, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None) -> Self:
        """The same in int8, calibrated on texts given as token ids; reports its progress to ``on_step``."""

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """The vectors that texts must have, computed another way.

        Shape: ragged ``(n, tokens)`` -> ``(n, dimensions)``.
        """


@dataclass(frozen=True)
class HandWritten:
    """A BERT whose graph is written operator by operator, compared with the equations in numpy."""

    encoder: Encoder
    head: Head
    origin: str = "hand-written graph"
    reference: str = "double precision in numpy"

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "HandWritten":
        """Read the weights; raises ``CheckpointError`` as `embedge_export.checkpoint.weights.load_encoder` does."""
        encoder = load_encoder(checkpoint.directory, checkpoint.config, pairs=checkpoint.tokenizer_facts.second > 0)
        return cls(encoder, checkpoint.head)

    @property
    def description(self) -> str:
        """See :class:`Network`."""
        encoder = self.encoder
        return f"{len(encoder.layers)} layers, {encoder.heads} heads, hidden size {encoder.hidden_size}"

    @property
    def dimensions(self) -> int:
        """See :class:`Network`."""
        return self.head.width(self.encoder.hidden_size)

    def author(self, *, unsigned: bool = False) -> GraphBuilder:
        """See :class:`Network`."""
        return cpu.author(self.encoder, self.head, unsigned=unsigned)

    def quantize(
        self, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None
    ) -> "HandWritten":
        """See :class:`Network`."""
        encoder, head = quantize.int8(self.encoder, self.head, calibration, on_step)
        return replace(self, encoder=encoder, head=head)

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """See :class:`Network`."""
        return equations.embed(self.encoder, self.head, texts)
