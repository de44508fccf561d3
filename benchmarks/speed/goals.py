"""What embedge int8 is to reach against its peers as they are tuned, as ratios within one run: by ONNX Runtime's own
kernels, and, where they were measured, by those of embedge-kernels.
"""

from typing import Any

_STOCK, _KERNELS = "embedge_int8", "embedge_kernels"


def goals(contenders: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal: what, the ratio of the medians, its range (extremes to extremes), the bound, whether it is met.

    Each contender counts with its row that is tuned. Where one was not measured, the ratio is None, and the goal is
    not met.
    """
    tuned = {values["contender"]: values for values in contenders.values() if values["tuned"]}
    peers = {name: values for name, values in tuned.items() if not name.startswith("embedge")}
    judged = []
    for ours, limit in {_STOCK: 0.75, **({_KERNELS: 0.6} if _KERNELS in tuned else {})}.items():
        by = "with the kernels, " if ours == _KERNELS else ""
        for tokens in (8, 16, 32):
            latency = (f"query_{tokens}", "p50_ms")
            best = min(peers, key=lambda name: _at(peers[name], latency)["median"], default="")
            label = f" ({peers[best]['label']})" if best else ""
            what = f"{by}latency of a query of {tokens} tokens, to the best peer{label}"
            judged.append(_judge(what, tuned, ours, best, latency, at_most=limit))
    others: tuple[tuple[str, str, tuple[str, ...], float | None, float | None], ...] = (
        ("throughput of the corpus, to fastembed int8", "fastembed_int8", ("corpus", "texts_per_s"), None, 3.0),
        ("cold start, to fastembed int8", "fastembed_int8", ("cold_start_s",), 0.3, None),
        ("peak memory, to fastembed int8", "fastembed_int8", ("peak_rss_mb",), 0.6, None),
        ("throughput of the corpus, to OpenVINO int8", "openvino_int8", ("corpus", "texts_per_s"), None, 1.0),
        ("loss of fidelity (1 - mean cosine), to OpenVINO int8", "openvino_int8", ("fidelity", "loss"), 1.0, None),
    )
    for what, peer, path, at_most, at_least in others:
        judged.append(_judge(what, tuned, _STOCK, peer, path, at_most=at_most, at_least=at_least))
    for peer, label in {"openvino_int8": "OpenVINO int8", "llama_cpp_q8": "llama.cpp Q8_0"}.items():
        if _KERNELS in tuned:
            what = f"with the kernels, throughput of the corpus, to {label}"
            judged.append(_judge(what, tuned, _KERNELS, peer, ("corpus", "texts_per_s"), at_least=2.0))
    return judged


def _judge(
    what: str,
    contenders: dict[str, Any],
    ours: str,
    peer: str,
    path: tuple[str, ...],
    at_most: float | None = None,
    at_least: float | None = None,
) -> dict[str, Any]:
    bound = f"<= {at_most:.2f}" if at_most is not None else f">= {at_least:.2f}"
    found = [_at(contenders.get(name), path) for name in (ours, peer)]
    if None in found:
        return {"goal": what, "ratio": None, "range": None, "bound": bound, "met": False}
    mine, theirs = found
    ratio = mine["median"] / theirs["median"]
    extremes = [mine["range"][0] / theirs["range"][1], mine["range"][1] / theirs["range"][0]]
    met = ratio <= at_most if at_most is not None else ratio >= (at_least or 0)
    return {
        "goal": what,
        "ratio": round(ratio, 3),
        "range": [round(x, 3) for x in extremes],
        "bound": bound,
        "met": met,
    }


def _at(values: Any, path: tuple[str, ...]) -> Any:
    """The figure at ``path``, with its median and range; None where there is none."""
    if path == ("fidelity", "loss"):
        loss = 1 - values["fidelity"]["mean_cosine"] if values and values["fidelity"] else None
        return loss and {"median": loss, "range": [loss, loss]}
    for key in path:
        values = values and values.get(key)
    return values
