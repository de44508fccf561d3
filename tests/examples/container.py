"""An image of this checkout in a plain directory, and ``embedge serve`` in it as a container would run it."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.edge import image, sandbox
from tests.cases import ROOT
from tests.server.running import Serving

PLACE = ROOT / "examples" / "container"
CONTAINERFILE = PLACE / "Containerfile"
IGNORE = PLACE / "Containerfile.dockerignore"


def context(bundle: Path, out: Path) -> Path:
    """What a build sees of the checkout, with ``bundle`` where the Containerfile looks for it."""
    image.copy_context(ROOT, IGNORE, out, bundles=False)
    shutil.copytree(bundle, out / "models" / "bundle", ignore=shutil.ignore_patterns(".verified"))
    return out


def link_packages(command: Sequence[str], directory: Path) -> None:
    """In pip's place, which would fetch them: the packages of this environment, as links."""
    target = Path(command[command.index("--target") + 1])
    shutil.copytree(directory / "runtime" / "embedge", target / "embedge")
    for name in _needed(["embedge", "embedge-kernels"], {"serve"}):
        for file in importlib.metadata.distribution(name).files or []:
            source, place = Path(str(file.locate())), target / file
            if ".." not in file.parts and "__pycache__" not in file.parts and not file.name.endswith(".pth"):
                place.parent.mkdir(parents=True, exist_ok=True)
                image.link(str(source), str(place))


def _needed(names: Sequence[str], extras: set[str]) -> set[str]:
    """Distributions that are installed, and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name in found:
            continue
        found.add(name)
        for line in requires:
            asked = re.search(r"extra == ['\"]([\w-]+)", line)
            need = re.match(r"[\w.-]+", line)
            if need and (asked is None or (name == "embedge" and asked[1] in extras)):
                waiting.append(need[0])
    return found


def command(stage: image.Stage, program: Sequence[str]) -> list[str]:
    """What runs ``program`` in the image, as its user."""
    return sandbox.command(stage.root, program, stage.environment, user=stage.user)


@contextmanager
def running(stage: image.Stage, *options: str) -> Iterator[Serving]:
    """The image's server on a port that is free, with the image's own options but for the address, and ``options``."""
    arguments = [*stage.command, "--host", "127.0.0.1", "--port", "0", *options]
    started = subprocess.Popen(
        command(stage, [*stage.entrypoint, *arguments]), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with started:
        server = Serving(started)
        try:
            server.url = server.event("listening")["url"]
            yield server
            if started.poll() is None:
                terminate(server)
                server.end()
        finally:
            sandbox.kill(started)
            server.close()


def inside(stage: image.Stage, code: str) -> "dict[str, object]":
    """What a Python program in the image prints as JSON."""
    done = subprocess.run(command(stage, ["python", "-c", code]), capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def status(process: int) -> dict[str, str]:
    """``/proc/<process>/status``."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def terminate(server: Serving) -> None:
    """SIGTERM to the server, which is process 1 in there."""
    os.kill(sandbox.first_process(server.process), signal.SIGTERM)
