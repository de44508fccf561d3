"""What an embedder does to the world around it: no network, no files, and forks and threads that don't hang."""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from tests.cases import run_script

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# A thread that encodes may hold a lock at the moment of a fork; a child that hangs is ended by its alarm clock.
FORK = """
import gc, multiprocessing, os, signal, sys, threading
import numpy as np
from embedge import Embedder

texts = [f"Passage {n} tells of {'rain and ' * (n % 9)}snow." for n in range(40)]
model = Embedder.load(sys.argv[1], threads=2)
expected, query = model.embed(texts), model.embed_query("What falls in winter?")

def right(_=None):
    return np.array_equal(model.embed(texts), expected) and np.array_equal(
        model.embed_query("What falls in winter?"), query
    )

def in_child(action):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        sys.exit(0 if action() else 1)
    assert os.waitpid(pid, 0)[1] == 0
"""


@dataclass(frozen=True)
class Trace:
    """System calls of a process that embeds, and the directories it was given."""

    lines: list[str]
    bundle: Path
    home: Path
    temporary: Path


@pytest.fixture(scope="module")
def trace(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A process that embeds a batch and a query, and then makes one local socket and one file of its own."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    directory = tmp_path_factory.mktemp("trace")
    home, temporary, control = directory / "home", directory / "tmp", directory / "control"
    home.mkdir()
    temporary.mkdir()
    bundle = Path(shutil.copytree(bundle, directory / "bundle", ignore=shutil.ignore_patterns(".verified")))
    newest = max(path.stat().st_ctime for path in bundle.iterdir())
    time.sleep(max(0.0, newest + 2.5 - time.time()))  # younger files are hashed, but not noted as such
    code = f"""
from embedge import Embedder
with Embedder.load({str(bundle)!r}) as model:
    model.embed([f"Passage {{n}}" for n in range(100)])
    model.embed_query("What runs at the edge?")
import socket
socket.socketpair()[0].close()
open({str(control)!r}, "w").close()
"""
    calls = "network,open,openat,creat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,link,linkat"
    calls += ",symlink,symlinkat,truncate,chmod,fchmodat,mknod,mknodat,rmdir"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = ["strace", "-f", "-qq", "-s", "4096", "-o", str(directory / "calls"), "-e", f"trace={calls}"]
    done = subprocess.run([*command, sys.executable, "-W", "ignore::ResourceWarning", "-c", code], env=environment)
    if done.returncode and not (directory / "calls").read_text():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0
    lines = (directory / "calls").read_text().splitlines()
    assert any("AF_UNIX" in line for line in lines), "the trace has no network calls in it"
    writes = [path for path in map(written, lines) if path]
    assert control in writes, "the trace has no file calls in it"
    return Trace([line for line in lines if str(control) not in line], bundle, home, temporary)


def written(line: str) -> Path | None:
    """The path that a traced call writes to, makes or removes; ``None`` for one that only reads."""
    call = re.match(r"\d+\s+(\w+)\((.*)", line)
    if not call or call[1] in ("socket", "socketpair") or '"' not in call[2]:
        return None
    if call[1] in ("open", "openat") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", call[2]):
        return None
    return Path(call[2].split('"')[1])


def test_embedding_opens_no_network_socket(trace: Trace) -> None:
    network = [line for line in trace.lines if re.search(r"AF_INET|connect\(|sendto\(|bind\(", line)]
    assert network == []


def test_embedding_writes_nothing_outside_the_bundle(trace: Trace) -> None:
    # Nothing else is allowed, not even in the temporary directory.
    paths = [path for path in map(written, trace.lines) if path]
    assert [path for path in paths if not path.is_relative_to(trace.bundle)] == []


def test_embedding_writes_only_its_note_into_the_bundle(trace: Trace) -> None:
    paths = [path for path in map(written, trace.lines) if path and path.is_relative_to(trace.bundle)]
    assert paths
    assert all(path.name.startswith("..verified.") for path in paths)  # it is renamed when it is whole
    assert (trace.bundle / ".verified").is_file()


def test_embedding_leaves_the_home_and_temporary_directories_empty(trace: Trace) -> None:
    assert list(trace.home.iterdir()) == []
    assert list(trace.temporary.iterdir()) == []


@pytest.mark.parametrize(
    "action", ["import embedge; embedge.Embedder", "from embedge.cli import main; main(['doctor'])"]
)
def test_telemetry_is_off_when_onnxruntime_is_imported(action: str) -> None:
    code = f"""
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"), file=sys.stderr)

sys.meta_path.insert(0, Watch())
{action}
"""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "telemetry off: 1\n"


@needs_fork
def test_a_forked_child_embeds_while_the_parents_threads_embed(bundle: Path) -> None:
    code = """
stop = threading.Event()

def keep_embedding():
    while not stop.is_set():
        assert right()

threads = [threading.Thread(target=keep_embedding) for _ in range(3)]
for thread in threads:
    thread.start()
try:
    for _ in range(5):
        in_child(right)
finally:
    stop.set()
for thread in threads:
    thread.join()
assert right()
"""
    done = run_script(FORK + code, bundle)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_fork
def test_a_forked_child_forks_again_and_embeds(bundle: Path) -> None:
    code = """
def grandchild():
    in_child(right)
    return right()

in_child(grandchild)
assert right()
"""
    done = run_script(FORK + code, bundle)
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_a_pool_of_forked_processes_shares_the_parents_embedder(bundle: Path) -> None:
    code = """
with multiprocessing.get_context("fork").Pool(2, initializer=signal.alarm, initargs=(30,)) as pool:
    print(pool.map(right, range(6)))
    pool.close()
    pool.join()
"""
    done = run_script(FORK + code, bundle)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str([True] * 6), "")


@needs_fork
@pytest.mark.parametrize("before", ["True", "right()"], ids=["unused", "after embedding"])
def test_a_forked_child_drops_its_embedder_and_goes_on(bundle: Path, before: str) -> None:
    code = f"""
def drop():
    global model
    fine = {before}
    model = None
    gc.collect()
    return fine

in_child(drop)
assert right()
"""
    done = run_script(FORK + code, bundle)
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_a_forked_child_closes_its_embedder_and_the_parent_goes_on(bundle: Path) -> None:
    code = """
in_child(lambda: right() and model.close() is None)
in_child(lambda: model.close() is None)
assert right()
"""
    done = run_script(FORK + code, bundle)
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_no_process_forks_while_another_of_its_threads_loads(copy: Path) -> None:
    """ONNX Runtime holds locks then, which nobody would release in the child."""
    code = """
import os, sys, threading, time
from embedge import Embedder
from embedge.engine.ort import onnxruntime

made, loading = onnxruntime.InferenceSession, 0

class Slow(made):
    def __init__(self, *arguments, **options):
        global loading
        loading += 1
        time.sleep(0.002)
        super().__init__(*arguments, **options)
        loading -= 1

onnxruntime.InferenceSession = Slow
stop = threading.Event()

def keep_loading():
    while not stop.is_set():
        with Embedder.load(sys.argv[1], threads=1) as model:
            model.embed_query("a text")

threads = [threading.Thread(target=keep_loading) for _ in range(2)]
for thread in threads:
    thread.start()
codes = []
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        os._exit(loading)
    codes.append(os.waitpid(pid, 0)[1])
    time.sleep(0.003)
stop.set()
for thread in threads:
    thread.join()
print(set(codes))
"""
    done = run_script(code, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{0}\n", "")


@needs_fork
def test_a_child_forked_while_a_signal_handler_raises_embeds(copy: Path) -> None:
    """The handler interrupts fork(), which waits for another thread's load."""
    code = """
from embedge.engine.ort import onnxruntime

made, loading, go_on = onnxruntime.InferenceSession, threading.Event(), threading.Event()

class Slow(made):
    def __init__(self, *arguments, **options):
        if threading.current_thread() is not threading.main_thread():
            loading.set()
            go_on.wait()
        super().__init__(*arguments, **options)

def fail(*_):
    raise RuntimeError("in a handler")

onnxruntime.InferenceSession = Slow
thread = threading.Thread(target=lambda: Embedder.load(sys.argv[1], threads=1).close())
thread.start()
loading.wait()
signal.signal(signal.SIGALRM, fail)
signal.setitimer(signal.ITIMER_REAL, 0.05)

def embed_and_fork():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    in_child(right)
    return right()

in_child(embed_and_fork)
go_on.set()
thread.join()
in_child(right)
print("fine")
"""
    done = run_script(FORK + code, copy)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert "in a handler" in done.stderr


def test_32_threads_at_once_get_the_vectors_that_one_gets(model: Embedder, passages: list[str]) -> None:
    texts = [passage[:80] for passage in passages[:80]]
    expected = model.embed(texts)
    queries = np.array([model.embed_query(text) for text in texts])

    def call(number: int) -> bool:
        start = 2 * number
        several = np.array_equal(model.embed(texts[start : start + 12]), expected[start : start + 12])
        one = np.array_equal(model.embed_query(texts[start]), queries[start])
        return several and one

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(call, range(32))) == [True] * 32
