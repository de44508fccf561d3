"""A function run as it was packed, before it is written: in a fresh process that sees nothing else."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from embedge.errors import PackError
from embedge.pack.target import Target

_CODE = """\
import sys
directory = sys.argv[1]
sys.path.insert(0, directory)
import handler, embedge
answer = handler.handler({"input": ["What runs at the edge?"]}, None)
if "data" not in answer:
    sys.exit(str(answer))
(check,) = embedge.verify(directory + "/bundle")
if not check.passed:
    sys.exit(f"its vectors are not those that were sealed: {check}")
print(check.cosine)
"""


def can_run(target: Target) -> bool:
    """Whether this machine is like the target, given a Python of that version."""
    library, version = platform.libc_ver()
    return (
        sys.platform == "linux"
        and platform.machine() == target.machine
        and library == "glibc"
        and int(version.split(".")[1]) >= target.glibc
    )


def try_function(python: str, directory: Path) -> float:
    """Embed by the function in ``directory``; the smallest cosine of its vectors to those that the bundle sealed.

    Raises:
        PackError: it fails, or its vectors are others.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EMBEDGE_", "AWS_"))}
    done = subprocess.run(  # noqa: S603 - a Python
        # Without the site packages of that Python, and without writing.
        [python, "-I", "-S", "-B", "-c", _CODE, str(directory)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=directory,
    )
    (directory / "bundle" / ".verified").unlink(missing_ok=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise PackError(f"the packed function does not run on this machine, so it was not written: {last}")
    return float(done.stdout)
