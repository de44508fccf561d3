"""Which fusions a traced graph gets is measured, not assumed."""

import pytest

from embedge.engine.ort import onnxruntime
from embedge_export.traced import timing


class Repeated:
    """A session that does its work so many times."""

    def __init__(self, session: onnxruntime.InferenceSession, times: int) -> None:
        self.session, self.times = session, times

    def run(self, outputs: None, inputs: dict[str, object]) -> None:
        for _ in range(self.times):
            self.session.run(outputs, inputs)


@pytest.mark.parametrize(("plain", "fused", "fast"), [(40, 1, True), (1, 40, False)])
def test_the_operators_that_take_less_time_are_found(
    monkeypatch: pytest.MonkeyPatch, plain: int, fused: int, fast: bool
) -> None:
    """The real operators, some of them many times over: the fused one is five times as slow in ONNX Runtime 1.32."""
    make, times = timing._session, {False: plain, True: fused}
    monkeypatch.setattr(timing, "_session", lambda *, fused: Repeated(make(fused=fused), times[fused]))
    assert timing.skip_layer_norm_is_fast() == fast
