"""The network of a checkpoint on its way into a bundle: what an export needs of it, whichever way its graph is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from embedge_export import quantize
from embedge_export.checkpoint import Checkpoint
from embedge_export.checkpoint.weights import load_encoder
from embedge_export.encoder import Encoder, Pooling
from embedge_export.graph import cpu as graph
from embedge_export.graph.builder import GraphBuilder
from embedge_export.reference import equations as reference
from embedge_export.reference.forward import Array


class Model(Protocol):
    """A network with its pooling: :class:`HandWritten`, or :class:`embedge_export.traced.network.Traced`."""

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
    def hidden_size(self) -> int:
        """The width of its vectors."""

    def author(self, *, activation_bits: int = 8) -> GraphBuilder:
        """Its graph, ``input_ids`` ``(batch, tokens)`` -> ``embedding`` ``(batch, hidden)``, as that of `graph.author`.

        ``activation_bits`` matters where it is quantized only.
        """

    def quantize(self, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None) -> Self:
        """The same in int8, calibrated on texts given as token ids; tells ``on_step`` how far it is."""

    def embed(self, ids: Sequence[int]) -> Array:
        """The vector that a text must have, computed another way. Shape: ``(tokens,)`` -> ``(hidden,)``, length 1."""


@dataclass(frozen=True)
class HandWritten:
    """A BERT whose graph is written operator by operator, compared with the equations in numpy."""

    encoder: Encoder
    pooling: Pooling
    origin: str = "hand-written graph"
    reference: str = "double precision in numpy"

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "HandWritten":
        """Read the weights; raises ``CheckpointError`` as `embedge_export.checkpoint.weights.load_encoder` does."""
        return cls(load_encoder(checkpoint.directory, checkpoint.config), checkpoint.pooling)

    @property
    def description(self) -> str:
        """See :class:`Model`."""
        encoder = self.encoder
        return f"{len(encoder.layers)} layers, {encoder.heads} heads, hidden size {encoder.hidden_size}"

    @property
    def hidden_size(self) -> int:
        """See :class:`Model`."""
        return self.encoder.hidden_size

    def author(self, *, activation_bits: int = 8) -> GraphBuilder:
        """See :class:`Model`."""
        return graph.author(self.encoder, self.pooling, activation_bits=activation_bits)

    def quantize(
        self, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None
    ) -> "HandWritten":
        """See :class:`Model`."""
        return replace(self, encoder=quantize.int8(self.encoder, calibration, on_step))

    def embed(self, ids: Sequence[int]) -> Array:
        """See :class:`Model`."""
        return reference.embed(self.encoder, self.pooling, ids)
