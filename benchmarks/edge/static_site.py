"""The page of ``examples/browser``, built with a bundle, and a plain file server that notes what it is asked for.

Its packages are installed once, in ``.clients/browser``.
"""

import fcntl
import functools
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.environments import ROOT, Unavailable, run

PROGRAM = ROOT / "examples" / "browser"
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Headers by which pages may have threads."""
# Without a network npm would try for two minutes.
_OPTIONS = (
    "--loglevel=error",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--fetch-retry-mintimeout=100",
    "--fetch-retry-maxtimeout=1000",
)
_INSTALLED = ROOT / ".clients" / "browser"


class Site(NamedTuple):
    """A server while it runs."""

    url: str
    asked: list[str]
    """The paths that were asked for, without their slash."""
    replaced: dict[str, bytes]
    """What is sent for a path in the place of the file there; may be changed at any time."""


def build_page(bundle: Path, out: Path) -> None:
    """Build the page with ``bundle`` into the new directory ``out``, as ``npm run build`` does.

    Raises:
        Unavailable: there is no npm; the packages can't be installed; the build fails.
    """
    packages = install_packages()
    with tempfile.TemporaryDirectory() as place:
        program = Path(shutil.copytree(PROGRAM, Path(place) / "program", ignore=lambda *_: ["node_modules", "dist"]))
        (program / "node_modules").symlink_to(packages)
        run(["node", program / "build.mjs", bundle, out])


def install_packages() -> Path:
    """The directory of the page's packages, installed where those of another lock file are or none.

    Raises:
        Unavailable: there is no npm, or it can't install them; with the reason.
    """
    if not shutil.which("npm") or not shutil.which("node"):
        raise Unavailable("Node.js and npm are not installed")
    _INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted, done = (PROGRAM / "package-lock.json").read_text(), _INSTALLED / "done"
    with (_INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_file() or done.read_text() != wanted:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(PROGRAM / name, _INSTALLED)
            run(["npm", "ci", *_OPTIONS], cwd=_INSTALLED)
            done.write_text(wanted)
    return _INSTALLED / "node_modules"


@contextmanager
def hosting(directory: Path, headers: Mapping[str, str] | None = None) -> Iterator[Site]:
    """A server of the files in ``directory`` on loopback, with ``headers`` in each answer."""
    site = Site("", [], {})
    handler = functools.partial(_Handler, site, headers or {}, directory=str(directory))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield site._replace(url=f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Nothing on standard error: browsers hang up in the middle of an answer."""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, site: Site, headers: Mapping[str, str], *rest: Any, **options: Any) -> None:
        self._site, self._extra = site, headers
        super().__init__(*rest, **options)

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/")
        self._site.asked.append(path)
        if path not in self._site.replaced:
            super().do_GET()
            return
        body = self._site.replaced[path]
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in self._extra.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""
