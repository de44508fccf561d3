"""The end of the interpreter, and of its main thread; and interpreters within one."""

import sys
import time
from pathlib import Path

import pytest

from embedge import EmbedgeError
from embedge.engine import shutdown
from embedge.engine.calls import Calls
from tests.cases import run_script

SETUP = """
import atexit, sys, threading
if "atexit before" in sys.argv:
    atexit.register(lambda: finish())  # so that it runs after all that others register
import numpy as np
from embedge import Embedder

texts = [f"text number {'and ' * (n % 30)} {n}" for n in range(40)]
model = Embedder.load(sys.argv[1], threads=int(sys.argv[2]))
with Embedder.load(sys.argv[1], threads=1) as other:
    expected = other.embed(texts)

def finish():
    print(np.array_equal(model.embed(texts), expected), len(model.embed_query("a text")))
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("then", ["atexit before", "atexit after", "thread", "thread after a list"])
def test_lists_are_embedded_after_the_main_thread_has_ended(copy: Path, threads: int, then: str) -> None:
    code = """
if sys.argv[3] == "atexit after":
    atexit.register(finish)
if sys.argv[3] == "thread after a list":
    finish()
if "thread" in sys.argv[3]:
    def later():
        threading.main_thread().join()
        finish()
    threading.Thread(target=later).start()
"""
    done = run_script(SETUP + code, copy, threads, then)
    lines = 2 if then == "thread after a list" else 1
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 16\n" * lines, "")


@pytest.mark.parametrize("then", ["", "finish()", "atexit before"])
def test_an_interpreter_with_daemon_threads_that_embed_ends_cleanly(copy: Path, then: str) -> None:
    code = """
import time
from embedge import EmbedgeError

def keep_embedding(number):
    while True:
        if number % 2:
            model.embed(texts)
        else:
            model.embed_query("a text")
        if number == 3:
            with Embedder.load(sys.argv[1], threads=2) as loaded:
                loaded.embed_query("a text")

for number in range(4):
    threading.Thread(target=keep_embedding, args=(number,), daemon=True).start()
time.sleep(0.1)
"""
    for _ in range(4):
        done = run_script(SETUP + code + (then if then == "finish()" else ""), copy, 2, then)
        assert (done.returncode, done.stdout, done.stderr) == (0, "True 16\n" if then else "", "")


def test_a_subinterpreter_gets_an_error_that_says_so(copy: Path) -> None:
    code = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
inner = f'''
import sys, warnings
sys.path[:] = {sys.path}
warnings.simplefilter("ignore")
try:
    from embedge import Embedder
except ImportError as exc:
    print("numpy's own" if "interpreter" in str(exc) else exc)  # from Python 3.12 on
except Exception as exc:
    print(type(exc).__name__, exc, flush=True)
'''
interpreters.run_string(interpreters.create(), inner)
"""
    done = run_script(code)
    told = "ProviderError ONNX Runtime does not run in a subinterpreter: use the main one, threads or processes\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == told or (sys.version_info >= (3, 12) and done.stdout == "numpy's own\n")


def test_only_the_end_of_the_interpreter_holds_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was closed is reported at once."""

    def fail(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s")

    monkeypatch.setattr(time, "sleep", fail)
    calls = Calls("closed", lambda: None)
    calls.close()
    with pytest.raises(EmbedgeError, match="closed"):
        shutdown.native(lambda: calls.run(int))
