"""``embedge serve`` while it is measured: how soon it answers, how fast, and in how much memory."""

import contextlib
import http.client
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.speed.texts import text_of

# What a service sees: one after the other with time between.
_PAUSE_S = 0.02


class Served:
    """A server that listens."""

    def __init__(self, port: int, process: int, began: float) -> None:
        self._port = port
        self.process = process
        """Its number."""
        self.first_vector_s = self._ask(text_of(16, 0)) + time.perf_counter() - began
        """From the start of the process to its first answer."""

    def queries(self, count: int) -> list[float]:
        """Milliseconds of each of some queries of 16 tokens, with pauses between them; sorted."""
        times = []
        with contextlib.closing(self._connect()) as connection:
            for seed in range(count):
                times.append(1e3 * self._ask(text_of(16, seed), connection))
                time.sleep(_PAUSE_S)
        return sorted(times)

    def crowd(self, clients: int, tokens: int, each: int) -> list[float]:
        """Milliseconds of requests of so many tokens by clients at once, each one after the other; sorted."""

        def ask(client: int) -> list[float]:
            with contextlib.closing(self._connect()) as connection:
                return [1e3 * self._ask(text_of(tokens, client * each + one), connection) for one in range(each)]

        with ThreadPoolExecutor(clients) as pool:
            return sorted(took for times in pool.map(ask, range(clients)) for took in times)

    def memory_mb(self, field: str) -> float:
        """``VmHWM``, the most that was resident at once, or another field of its status."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e6

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)

    def _ask(self, text: str, connection: http.client.HTTPConnection | None = None) -> float:
        if connection is None:
            with contextlib.closing(self._connect()) as own:
                return self._ask(text, own)
        began = time.perf_counter()
        body = json.dumps({"input": text})
        connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise ConnectionError(f"the server answered {answer.status}")
        return time.perf_counter() - began


@contextlib.contextmanager
def served(
    command: Sequence[str],
    find: "Callable[[subprocess.Popen[str]], int]",
    end: "Callable[[subprocess.Popen[str]], None]",
    environment: dict[str, str] | None = None,
) -> Iterator[Served]:
    """The server that ``command`` starts, with its log as JSON; ``find`` gives its process, and ``end`` ends it.

    Raises:
        ConnectionError: it ended before it listened.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        try:
            assert started.stderr
            said = ""
            for said in started.stderr:
                if '"listening"' in said:
                    break
            else:
                raise ConnectionError(f"the server did not start: {said.strip()}")
            threading.Thread(target=started.stderr.read, daemon=True).start()  # so that it never waits for us
            port = urlsplit(json.loads(said)["url"]).port
            assert port
            yield Served(port, find(started), began)
        finally:
            end(started)


def percentiles(times: Sequence[float]) -> str:
    """The median and the 99th percentile of sorted milliseconds."""
    return f"p50 {statistics.median(times):.1f} ms, p99 {times[int(0.99 * len(times))]:.1f} ms"
