"""Ctrl-C and signal handlers, which may come between any two steps of a call."""

import os
import signal
import threading
from pathlib import Path

import pytest

from embedge.engine.threads import share
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
        share(range(10_000), work, helpers=3)
    count = len(begun)
    threading.Event().wait(0.05)
    assert len(begun) <= count + 3
    assert count < 1000
