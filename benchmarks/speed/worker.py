"""One contender in a fresh process: start, first vector, then the works; the measurements as JSON on the last line.

Runs in the contender's own environment, so it needs nothing but the standard library and numpy:
``python worker.py CONTENDER MODELS THREADS {speed|quick|rank|tune|vectors} KNOBS``, KNOBS being JSON.
"""

import importlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

START = time.perf_counter()
_QUERIES = 100
_RANKINGS = 3
# A corpus is embedded a second time, unless the first one took longer: engines that compile something for each new
# length of text are not among those.
_LONGEST_FIRST_S = 8.0


def main() -> None:
    name, models, threads, task = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    sys.path.insert(0, str(Path(__file__).parents[2]))
    contender = importlib.import_module(f"benchmarks.speed.contenders.{name}")
    from benchmarks.speed.contenders import Knobs, by_length

    imported = time.perf_counter()
    knobs = Knobs(**json.loads(sys.argv[5]))
    embed = contender.load(models, threads, knobs)
    if knobs.sort:
        embed = by_length(embed)
    loaded = time.perf_counter()
    embed(["what runs at the edge?"])
    # The parent stops its clock for the cold start when it reads this line.
    print("first vector", flush=True)
    result = {
        "import_s": imported - START,
        "load_s": loaded - imported,
        "first_rss_mb": _peak_rss_mb(),
        "versions": _versions(contender.PACKAGES),
    }
    if task == "vectors":
        import numpy as np

        from benchmarks.speed import texts

        result["vectors"] = np.asarray(embed(texts.fidelity_texts()), float).tolist()
    elif task == "tune":
        from benchmarks.speed import texts

        some = texts.tuning_texts()
        result["texts_per_s"] = len(some) / min(_time_corpus(embed, some))
    elif task == "rank":
        result |= _rankings(embed)
        result["peak_rss_mb"] = _peak_rss_mb()
    else:
        result |= _works(embed, quick=task == "quick", thread_safe=contender.THREAD_SAFE)
        result["peak_rss_mb"] = _peak_rss_mb()
    print(json.dumps(result), flush=True)


def _works(embed: Any, *, quick: bool, thread_safe: bool) -> dict[str, Any]:
    from benchmarks.speed import texts

    works: dict[str, Any] = {}
    for tokens in (8, 16, 32):
        times = _time_each(embed, [[text] for text in texts.texts_of(tokens, 30 if quick else _QUERIES)])
        works[f"query_{tokens}"] = {"p50_ms": 1e3 * _quantile(times, 0.5), "p99_ms": 1e3 * _quantile(times, 0.99)}
    for tokens, count in ((128, 16), (512, 4)):
        documents = texts.texts_of(tokens, count)
        times = _time_each(embed, [documents] * (1 if quick else 2), warm=documents[:2])
        works[f"documents_{tokens}"] = {"ms_per_text": 1e3 * min(times) / count}
    corpus = texts.corpus()
    passes = _time_corpus(embed, corpus)
    works["corpus"] = {
        "texts_per_s": len(corpus) / passes[-1],
        "first_time_texts_per_s": len(corpus) / passes[0],
        "texts": len(corpus),
        "passes": len(passes),
    }
    works["callers_64"] = _callers(embed, thread_safe, per_caller=1 if quick else 2)
    return works


def _rankings(score: Any) -> dict[str, Any]:
    """Median times for a query's candidates; the list is scored once before."""
    from benchmarks.speed import texts

    found = {}
    for name, candidates in texts.candidates().items():
        seconds = _quantile(_time_each(score, [candidates] * _RANKINGS, warm=candidates), 0.5)
        found[name] = {"ms": 1e3 * seconds, "pairs_per_s": len(candidates) / seconds}
    return found


def _time_corpus(embed: Any, some: list[str]) -> list[float]:
    """Seconds for all of ``some``, once or twice."""
    times = _time_each(embed, [some], warm=some[::20])
    return times if times[0] > _LONGEST_FIRST_S else [*times, *_time_each(embed, [some], warm=some[:1])]


def _time_each(embed: Any, lists: list[list[str]], warm: list[str] | None = None) -> list[float]:
    for _ in range(1 if warm else 5):
        embed(warm or lists[0])
    times = []
    for texts in lists:
        start = time.perf_counter()
        embed(texts)
        times.append(time.perf_counter() - start)
    return times


def _callers(embed: Any, thread_safe: bool, per_caller: int) -> dict[str, Any]:
    """64 threads, each with one query of 16 tokens after the other."""
    from benchmarks.speed import texts

    lock, errors = threading.Lock(), []

    def call(seed: int) -> None:
        for number in range(per_caller):
            text = texts.text_of(16, seed * per_caller + number)
            try:
                if thread_safe:
                    embed([text])
                else:
                    with lock:
                        embed([text])
            except Exception as exc:
                errors.append(f"{type(exc).__name__}: {exc}")

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(64)]
    start = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    seconds = time.perf_counter() - start
    if errors:
        return {"error": f"{len(errors)} of {64 * per_caller} calls failed: {errors[0][:200]}"}
    return {"queries_per_s": 64 * per_caller / seconds, "one_at_a_time": not thread_safe}


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def _peak_rss_mb() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in packages}


if __name__ == "__main__":
    main()
