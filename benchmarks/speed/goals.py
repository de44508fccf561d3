"""What embedge int8 is to reach against its peers, as ratios within one run."""

from typing import Any

_OURS = "embedge_int8"


def goals(contenders: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal that the contenders at hand allow to be judged: what, ratio, bound, whether it is met."""
    if _OURS not in contenders:
        return []
    ours = contenders[_OURS]
    peers = {name: values for name, values in contenders.items() if not name.startswith("embedge")}
    judged = []

    def judge(what: str, ratio: float, at_most: float | None = None, at_least: float | None = None) -> None:
        met = ratio <= at_most if at_most is not None else ratio >= (at_least or 0)
        bound = f"<= {at_most:.2f}" if at_most is not None else f">= {at_least:.2f}"
        judged.append({"goal": what, "ratio": round(ratio, 3), "bound": bound, "met": met})

    for tokens in (8, 16, 32):
        work = f"query_{tokens}"
        if peers:
            best = min(peers, key=lambda name: _median(peers[name][work]["p50_ms"]))
            what = f"latency of a query of {tokens} tokens, to the best peer ({peers[best]['label']})"
            judge(what, _median(ours[work]["p50_ms"]) / _median(peers[best][work]["p50_ms"]), at_most=0.75)
    if "fastembed_int8" in peers:
        peer = peers["fastembed_int8"]
        judge("throughput of the corpus, to fastembed int8", _throughput(ours) / _throughput(peer), at_least=3.0)
        for what, key, bound in (("cold start", "cold_start_s", 0.30), ("peak memory", "peak_rss_mb", 0.60)):
            judge(f"{what}, to fastembed int8", _median(ours[key]) / _median(peer[key]), at_most=bound)
    if "openvino_int8" in peers:
        peer = peers["openvino_int8"]
        judge("throughput of the corpus, to OpenVINO int8", _throughput(ours) / _throughput(peer), at_least=1.0)
        if ours["fidelity"] and peer["fidelity"]:
            loss = [1 - values["fidelity"]["mean_cosine"] for values in (ours, peer)]
            judge("loss of fidelity (1 - mean cosine), to OpenVINO's static int8", loss[0] / loss[1], at_most=1.0)
    return judged


def _throughput(values: dict[str, Any]) -> float:
    return _median(values["corpus"]["texts_per_s"])


def _median(value: dict[str, Any]) -> float:
    median: float = value["median"]
    return median
