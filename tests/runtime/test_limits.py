"""Limits that the system sets: of threads and of memory."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases import run_script

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="limits of threads and memory as on Linux"
)


@pytest.fixture
def public(tiny: Path) -> Iterator[Path]:
    """A bundle that every user can read."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(shutil.copytree(tiny, Path(directory) / "bundle"))


NO_THREADS = """
import hashlib, json, os, queue, resource, sys, threading  # what users without rights here may not read later
import numpy as np, onnxruntime, tokenizers
from embedge import Embedder, EmbedgeError
import embedge.embedder, embedge.engine.grouped, embedge.engine.packed, embedge.engine.ragged

if os.getuid() == 0:  # whom no limit binds
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    sys.exit("the limit does not bind")
texts = [f"text number {'and ' * (n % 30)} {n}" for n in range(40)]
model = Embedder.load(sys.argv[1], threads=int(sys.argv[2]), variant=sys.argv[3])

def told(action):
    try:
        print(len(action()))
    except EmbedgeError as exc:
        print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize("variant", ["int8", "fp32"])
def test_one_thread_needs_no_other_to_be_started(public: Path, variant: str) -> None:
    code = """
for _ in range(2):
    told(lambda: model.embed_query("a text"))
    told(lambda: model.embed(texts))
    told(lambda: model.count_tokens(texts))
model.close()
"""
    done = run_script(NO_THREADS + code, public, 1, variant)
    assert (done.returncode, done.stdout, done.stderr) == (0, "16\n40\n40\n" * 2, "")


def test_threads_that_can_not_be_started_are_told_in_one_line(public: Path) -> None:
    """A list that its caller can do alone is done."""
    code = """
told(lambda: model.embed(texts[25:35]))
for _ in range(2):
    told(lambda: model.embed_query("a text"))
    told(lambda: model.embed(texts))
"""
    done = run_script(NO_THREADS + code, public, 2, "int8")
    assert done.returncode == 0
    reason = "no further thread can be started here (a limit of processes); load the bundle with threads=1"
    listed, *rest = done.stdout.splitlines()
    assert listed == "10"
    assert rest == [f"ProviderError model.int8.onnx can't be loaded: {reason}", f"ProviderError {reason}"] * 2


def test_too_little_memory_is_told_in_one_line(bge_small: Path) -> None:
    code = """
import os, resource, sys
from embedge import Embedder, ProviderError

os.environ["EMBEDGE_KERNELS"] = "0"  # whose session is made at once
model = Embedder.load(sys.argv[1], threads=1)
few = model.embed_query("runs without packed weights")
texts = ["word " * 500] * 16

def limited(megabytes, action):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
    try:
        action()
        print("done")
    except ProviderError as exc:
        print(exc)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

limited(4, lambda: model.embed_query("has its weights packed"))
model.embed_query("has its weights packed")
limited(4, lambda: model.embed(texts))
limited(1000, lambda: model.embed(texts))
"""
    done = run_script(code, bge_small)
    assert (done.returncode, done.stderr) == (0, "")
    load, run, enough = done.stdout.splitlines()
    assert load.endswith("can't be loaded: there is too little memory (a limit of this process or its control group)")
    assert run.startswith("ONNX Runtime failed on a text of 502 tokens: there is too little memory")
    assert enough == "done"


def test_a_bundle_in_a_directory_that_can_not_be_listed_is_loaded(public: Path) -> None:
    code = """
import hashlib, json, os, sys  # what users without rights here may not read later
import numpy as np, onnxruntime, tokenizers
from embedge import Embedder
import embedge.embedder, embedge.engine.grouped, embedge.engine.packed, embedge.engine.ragged

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with Embedder.load(sys.argv[1], threads=1) as model:
    print(model.embed(["one", "two words"]).shape)
"""
    public.chmod(0o711 if os.geteuid() == 0 else 0o311)
    done = run_script(code, public)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 16)\n", "")
