"""Which fusions a traced graph gets is measured, not assumed."""

import time

import pytest

from embedge_export.traced import timing as kernels


class FakedSession:
    """Takes the time that it is told to."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, outputs: None, inputs: object) -> None:
        time.sleep(self.seconds)


@pytest.mark.parametrize(
    ("plain", "fused", "fast"), [(0.0005, 0.002, False), (0.002, 0.0005, True), (0.001, 0.001, False)]
)
def test_a_fusion_is_fast_where_faked_sessions_gain_by_it(
    monkeypatch: pytest.MonkeyPatch, plain: float, fused: float, fast: bool
) -> None:
    monkeypatch.setattr(kernels, "_session", lambda *, fused: FakedSession(seconds[fused]))
    seconds = {False: plain, True: fused}
    assert kernels.skip_layer_norm_is_fast() == fast


def test_of_the_real_operators_one_at_the_most_is_the_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, session = kernels.skip_layer_norm_is_fast(), kernels._session
    monkeypatch.setattr(kernels, "_session", lambda *, fused: session(fused=not fused))
    assert not (fast and kernels.skip_layer_norm_is_fast())
