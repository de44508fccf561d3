"""The page of ``examples/browser`` in headless Chromium: on one thread, and on all with the headers for it.

A row's first vector is that of a browser that has nothing kept, from a server on loopback: the time to fetch the page
over a network comes on top.
"""

import gzip
import importlib
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.edge import Row
from benchmarks.edge.static_site import ISOLATION, build_page, hosting
from benchmarks.speed.environments import Unavailable
from benchmarks.speed.texts import texts_of

_ROUNDS = 5
_QUERIES = 40
_WAIT_MS = 120_000
_FIRST = """async (end) => {
    while (performance.now() < end) {
        const [mark] = performance.getEntriesByName("first vectors");
        if (mark) return mark.startTime;
        const error = document.getElementById("model-error").textContent;
        if (error) throw new Error(error);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("the page has no vectors");
}"""
_QUERY = """async ([threads, texts]) => {
    const { Embedder } = await import("./embedge.js");
    const model = await Embedder.load("bundle/", { threads });
    await model.embed(texts);
    const times = [];
    for (const text of texts) {
        const began = performance.now();
        await model.embedQuery(text);
        times.push(performance.now() - began);
    }
    const found = { times, threads: model.threads };
    model.close();
    return found;
}"""


class _Visits(NamedTuple):
    """A page opened twice, in seconds and MB, and queries in ms."""

    first: float
    second: float
    peak_mb: float
    queries: list[float]
    threads: int


def measure(bundle: Path) -> list[Row]:
    """Open the page with ``bundle`` in new profiles, each of them twice.

    Raises:
        Unavailable: npm, Chromium or playwright is missing.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise Unavailable("there is no chromium on this machine")
    try:
        sync_api: Any = importlib.import_module("playwright.sync_api")
    except ModuleNotFoundError as exc:
        raise Unavailable("playwright is not installed") from exc
    with tempfile.TemporaryDirectory() as place, sync_api.sync_playwright() as playwright:
        page = Path(place) / "dist"
        build_page(bundle, page)
        chromium = playwright.chromium
        files = [path.read_bytes() for path in page.rglob("*") if path.is_file()]
        deployed = sum(map(len, files)) / 1e6
        packed = sum(len(gzip.compress(data, 6)) for data in files) / 1e6
        with chromium.launch(executable_path=program) as browser:
            how = f"headless Chromium {browser.version.partition('.')[0]}; {packed:.1f} MB where the server gzips"
        one = [_visit(chromium, program, page, threads=1) for _ in range(_ROUNDS)]
        several = [_visit(chromium, program, page, threads=None) for _ in range(_ROUNDS)]
    return [
        _row("a page in a browser, WebAssembly", deployed, one, how),
        _row("the same, cross-origin isolated", deployed, several, "headless Chromium"),
    ]


def _row(target: str, deployed: float, visits: list[_Visits], how: str) -> Row:
    threads = visits[0].threads
    second = statistics.median(visit.second for visit in visits)
    return {
        "target": f"{target}, {threads} thread{'s' if threads > 1 else ''}",
        "deployed_mb": deployed,
        "first_vector_s": statistics.median(visit.first for visit in visits),
        "query_ms": statistics.median(time for visit in visits for time in visit.queries),
        "peak_mb": max(visit.peak_mb for visit in visits),
        "how": f"{how}; first visit, and {second:.2f} s from the second on; memory of the tab's process",
    }


def _visit(chromium: Any, program: str, place: Path, *, threads: int | None) -> _Visits:
    headers = {} if threads == 1 else ISOLATION
    with (
        hosting(place, headers) as site,
        tempfile.TemporaryDirectory() as profile,
        # Not a private window, which keeps files in memory.
        chromium.launch_persistent_context(profile, executable_path=program) as context,
    ):
        first, page = _open(context, site.url)
        peak = _peak_mb(profile)
        page.close()
        second, page = _open(context, site.url)
        found = page.evaluate(_QUERY, [threads, texts_of(16, _QUERIES)])
    return _Visits(first, second, peak, found["times"], found["threads"])


def _open(context: Any, url: str) -> tuple[float, Any]:
    """Seconds from navigation until the page's first vectors are there, and the page."""
    page = context.new_page()
    page.goto(url)
    return page.evaluate(_FIRST, _WAIT_MS) / 1000, page


def _peak_mb(profile: str) -> float:
    """The most memory that was resident at once in the process of the tab: the largest of the renderers."""
    psutil: Any = importlib.import_module("psutil")
    ours = [process for process in psutil.Process().children(recursive=True) if profile in " ".join(process.cmdline())]
    renderers = {
        child.pid
        for process in ours
        for child in process.children(recursive=True)
        if "--type=renderer" in child.cmdline()
    }
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in renderers]
    return max(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6 for status in statuses)
