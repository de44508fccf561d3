"""A function for this machine's Python, packed once, and AWS's client beside it."""

import fcntl
import os
import pickle
import platform
import sys
from pathlib import Path

import pytest

from benchmarks.edge.lambda_runtime import CLIENT, unzip_read_only
from embedge import Bundle
from embedge.pack.aws_lambda import Packed, pack_function
from embedge.pack.packages import put
from embedge.pack.target import Target

HERE = Target(sys.version_info[:2], platform.machine(), 34)


@pytest.fixture(scope="session")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the function is written; skips where no function of this machine's kind is one for Lambda."""
    if sys.platform != "linux":
        pytest.skip("Lambda runs Linux")
    place = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a directory of its own below one of the run's.
    return (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "function.zip"


@pytest.fixture(scope="session")
def packed(bundle: Path, zipped: Path) -> Packed:
    """The function, of a bundle that has fp32, too; packed by the first process that needs it, since it takes 6 s."""
    kept = zipped.with_suffix(".pickle")
    with zipped.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(pack_function(Bundle.open(bundle), zipped, HERE)))
    packed: Packed = pickle.loads(kept.read_bytes())
    return packed


@pytest.fixture(scope="session")
def function(packed: Packed, zipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function as Lambda has it: unzipped, to be read only."""
    directory = tmp_path_factory.mktemp("function") / "task"
    unzip_read_only(zipped, directory)
    return directory


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AWS's client, without anything else of this environment."""
    directory = tmp_path_factory.mktemp("client")
    put(CLIENT, HERE, directory)
    return directory
