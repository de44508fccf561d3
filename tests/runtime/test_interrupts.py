"""Ctrl-C and signal handlers, which may come between any two steps of a call."""

import _thread
import os
import signal
import threading
from pathlib import Path

import pytest

from embedge.engine.calls import Calls
from embedge.engine.threads import Helpers
from tests.cases import run_script

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")

SETUP = """
import random, signal, sys, threading
import numpy as np
from embedge import Embedder, EmbedgeError

texts = [f"text number {'and ' * (n % 30)} {n}" for n in range(40)]
model = Embedder.load(sys.argv[1], threads=2)
expected = model.embed(texts)

def in_time(action):
    results = []
    thread = threading.Thread(target=lambda: results.append(action()), daemon=True)
    thread.start()
    thread.join(20)
    return results
"""


CALLS = {
    "one": "model.embed_query('a text')",
    "list": "model.embed(texts)",
    # With nothing between its first and its last step, so that most interrupts come within these.
    "nothing": "calls.run(lambda: slots.run(int))",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_calls_interrupted_at_any_moment_leave_nothing_that_close_waits_for(copy: Path, call: str) -> None:
    code = f"""
from embedge.engine.calls import Calls
from embedge.engine.threads import Slots

calls, slots = Calls("closed", model.close), Slots(2)

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
draw, interrupted = random.Random(0), 0
for _ in range(1500):
    try:
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-6, 5e-4))
        while True:
            {call}
    except KeyboardInterrupt:
        interrupted += 1
assert in_time(lambda: np.array_equal(model.embed(texts), expected)) == [True], "embed() hangs or is wrong"
assert in_time(lambda: slots.run(int)) == [0], "a slot is lost"
assert in_time(model.close) == in_time(calls.close) == [None], "close() hangs"
print(interrupted)
"""
    done = run_script(SETUP + code, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1500\n", "")


@pytest.mark.parametrize("threads", [1, 2])
def test_closing_in_a_signal_handler_lets_the_call_that_it_interrupts_end(copy: Path, threads: int) -> None:
    code = """
many = texts * 100
model = Embedder.load(sys.argv[1], threads=int(sys.argv[2]))
closed = []

def close(*_):
    model.close()
    closed.append(True)

signal.signal(signal.SIGALRM, close)
signal.setitimer(signal.ITIMER_REAL, 0.05)
vectors = model.embed(many)
while not closed:
    pass
print(np.array_equal(vectors, np.tile(expected, (100, 1))))
try:
    model.embed(texts)
except EmbedgeError as exc:
    print(exc)
"""
    done = run_script(SETUP + code, copy, threads)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True", "this Embedder is closed; load it again"]


def test_an_interrupted_list_is_not_gone_on_with() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if threading.current_thread() is threading.main_thread():
            os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.001)

    with pytest.raises(KeyboardInterrupt):
        Helpers(3).share(range(10_000), work)
    count = len(begun)
    threading.Event().wait(0.05)
    assert len(begun) <= count + 3
    assert count < 1000


def test_closing_in_a_signal_handler_does_not_wait_for_a_thread_that_waits_for_the_interrupted_one(copy: Path) -> None:
    """On one thread their texts take turns."""
    code = """
many = texts * 60
model = Embedder.load(sys.argv[1], threads=1)
closed, results = [], []

def embed():
    results.append(model.embed(many))

def close(*_):
    if len(model._engine._slots._line) == 2:
        signal.setitimer(signal.ITIMER_REAL, 0)
        model.close()
        closed.append(True)

thread = threading.Thread(target=embed)
thread.start()
signal.signal(signal.SIGALRM, close)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
embed()
thread.join()
assert closed
print([np.array_equal(vectors, np.tile(expected, (60, 1))) for vectors in results])
print(model._engine._sessions._sessions)
"""
    done = run_script(SETUP + code, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True, True]\n{}\n", "")


def test_two_calls_whose_progress_functions_close_both_end(copy: Path) -> None:
    code = """
many = texts * 60
both, results = threading.Barrier(2), []

def embed():
    def close(done, total):
        both.wait()
        model.close()
    results.append(model.embed(many, progress=close))

threads = [threading.Thread(target=embed) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print([np.array_equal(vectors, np.tile(expected, (60, 1))) for vectors in results])
print(model._engine._sessions._sessions)
"""
    done = run_script(SETUP + code, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True, True]\n{}\n", "")


def test_ctrl_c_while_sessions_are_let_go_lets_them_go_all_the_same() -> None:
    interrupted: list[bool] = []
    released: list[bool] = []

    def release() -> None:
        if not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        released.append(True)

    calls = Calls("closed", release)

    def close_within() -> None:
        calls.close()
        assert not released

    with pytest.raises(KeyboardInterrupt):
        calls.run(close_within)
    assert released == [True]


def test_an_interrupted_list_ends_after_the_texts_that_helpers_have_begun() -> None:
    """Else close() would take their sessions from them."""
    begun, ended = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if threading.current_thread() is threading.main_thread():
            begun.wait()
            os.kill(os.getpid(), signal.SIGINT)
        begun.set()
        threading.Event().wait(0.1)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        Helpers(1).share(range(2), work)
    assert ended.is_set()


def test_a_list_ends_soon_after_an_error_on_another_thread() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("on a helper")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="on a helper"):
        Helpers(1).share(range(10_000), work)
    assert len(begun) < 1000


def test_the_number_of_helpers_does_not_grow_with_that_of_callers() -> None:
    helpers, together, counts = Helpers(7), threading.Barrier(16), []
    before = _thread._count()

    def work(item: int) -> None:
        counts.append(_thread._count())
        threading.Event().wait(0.002)

    def call() -> None:
        together.wait()
        for _ in range(5):
            helpers.share(range(16), work)

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(counts) == 16 * 5 * 16
    # Some that have nothing to do any more may not have ended yet.
    assert 16 + 1 <= max(counts) - before <= 16 + 4 * 7
