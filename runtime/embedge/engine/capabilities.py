"""What this machine has kernels for that compute right, found by trying."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embedge.engine import fork
from embedge.engine.native import kernels
from embedge.engine.ort import CPU, onnxruntime
from embedge.engine.shutdown import native

_PROBE = Path(__file__).with_name("probe.onnx")


class Capabilities(NamedTuple):
    """What decides which graph of a variant runs here."""

    exact_u8s8: bool
    """Whether products of unsigned by signed 8-bit numbers are exact. Those of two unsigned ones are on every CPU."""

    kernels: bool
    """Whether ``embedge-kernels`` is installed and can be used (:mod:`.native`)."""

    def lacks(self, needs: Iterable[str]) -> list[str]:
        """Those of ``needs``, names of fields, that are not met; one that this version does not know is not met."""
        return [name for name in needs if not (name in self._fields and getattr(self, name))]


@functools.cache
def capabilities() -> Capabilities:
    """Those of the machine; found once."""
    return Capabilities(exact_u8s8=native(_u8s8_is_exact), kernels=kernels().library is not None)


def _u8s8_is_exact() -> bool:
    """Whether this CPU's kernels multiply unsigned 8-bit by signed 8-bit numbers without overflow.

    Found by trying: the largest numbers through the operator that the graphs use, for one row, whose kernel may be
    another one, and for several. ``vpmaddubsw``, which x86-64 CPUs without VNNI have for it, adds pairs of products in
    16 bits and saturates there, silently (onnxruntime issue 6004).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with fork.held_off:
        session = onnxruntime.InferenceSession(str(_PROBE), options, providers=[CPU])
    for rows in (1, 7):
        largest = np.full((rows, 64), 255, np.uint8)
        if not (session.run(None, {"x": largest})[0] == 64 * 255 * 127).all():
            return False
    return True
