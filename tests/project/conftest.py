"""What is installed from this project."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cases import ROOT

_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|Retrying \(|ProxyError|timed out|Network is unreach|error sending request"
)


@dataclass(frozen=True)
class Distributions:
    """What ``python -m build`` makes: an archive of the sources, and a wheel out of that."""

    sources: Path
    wheel: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Built offline, by the tools of the environment that runs the tests."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Distributions(*out.glob("*.tar.gz"), *out.glob("*.whl"))


def skip_where_no_index(done: "subprocess.CompletedProcess[str]") -> None:
    """Skip the test if an installer failed because it can't reach a package index."""
    if done.returncode and _UNREACHABLE.search(done.stdout + done.stderr):
        pytest.skip("no package index can be reached")
