"""The unit of ``examples/systemd``: what systemd says of it, and the server under what it restricts."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge.cli import serve as command
from tests.cases import ROOT
from tests.cli.running import EMBEDGE
from tests.examples import hardened
from tests.server.running import Serving

UNIT = ROOT / "examples" / "systemd" / "embedge.service"
PROBLEM = hardened.problem()
SETTINGS = hardened.settings(UNIT)
MOST_EXPOSED = 2.0
"""Of 10, which is a service that may do everything."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


@needs_systemd
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/opt/embedge/bin/embedge ", f"{shutil.which('true')} ")
    (tmp_path / "embedge.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "embedge.service"], capture_output=True, text=True, timeout=60
    )
    # It looks at units of the system, too, that ours comes after.
    said = [line for line in (done.stdout + done.stderr).splitlines() if "embedge.service" in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_little_is_exposed() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT], capture_output=True, text=True, timeout=60
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than 250")
    found = re.search(r"exposure level for embedge.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED


def test_the_server_takes_the_arguments_and_may_take_its_grace_time() -> None:
    (start,) = SETTINGS["ExecStart"]
    program, name, *arguments = shlex.split(start)
    assert (program, name) == ("/opt/embedge/bin/embedge", "serve")
    parser = argparse.ArgumentParser()
    command.add(parser)
    options = parser.parse_args(arguments)
    assert options.low_memory
    assert options.api_key_file or "ExecReload" not in SETTINGS  # without one the server ends at SIGHUP
    assert int(SETTINGS["TimeoutStopSec"][0]) > options.grace_s


@pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
def test_the_server_runs_under_the_restrictions(tiny: Path) -> None:
    start = shlex.split(SETTINGS["ExecStart"][0])[3:]
    with subprocess.Popen(
        [sys.executable, hardened.__file__, UNIT, *EMBEDGE, "serve", tiny, *start, "--port", "0"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as started:
        server = Serving(started)
        try:
            server.url = server.event("listening")["url"]
            status = Path(f"/proc/{started.pid}/status").read_text()
            assert "Seccomp:\t2" in status
            assert "NoNewPrivs:\t1" in status
            answer = server.ask("POST", "/v1/embeddings", b'{"input": "Bread rises by yeast."}')
            with Embedder.load(tiny) as model:
                vector = np.array(answer.json["data"][0]["embedding"], np.float32)
                assert np.array_equal(vector, model.embed(["Bread rises by yeast."])[0])
            server.signal("SIGTERM")
            assert server.end() == 0
        finally:
            started.kill()
            server.close()


@pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
def test_what_is_restricted_fails() -> None:
    """So that the test above shows something."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import mmap, os; print(os.umask(0)); "
    attempts = {
        "os.chroot('/')": "PermissionError",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)": "PermissionError",
    }
    for attempt, error in attempts.items():
        program = [sys.executable, hardened.__file__, str(UNIT), sys.executable, "-c", code + attempt]
        done = subprocess.run(program, capture_output=True, text=True, env=environment)
        assert done.stdout == "63\n"
        assert error in done.stderr, attempt
