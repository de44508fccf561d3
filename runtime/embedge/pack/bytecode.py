"""Modules compiled ahead: where they can't be written, as in a function, each start would compile all again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from embedge.errors import PackError
from embedge.pack.target import Target


def find_python(target: Target) -> str | None:
    """A Python of the target's version on this machine: the running one, or one on the path; ``None`` without any."""
    if sys.version_info[:2] == target.python and sys.implementation.name == "cpython":
        return sys.executable
    found = shutil.which(f"python{target.version}")
    if found:
        # It may be the shim of a version manager, which finds none.
        asked = [found, "-I", "-c", "import sys; print(*sys.version_info[:2], sys.implementation.name)"]
        done = subprocess.run(asked, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603 - a Python
        if not done.returncode and done.stdout.split() == [*map(str, target.python), "cpython"]:
            return found
    return None


def compile_modules(python: str, directory: Path, place: str) -> None:
    """Compile every module in ``directory``, which will lie at ``place``, as tracebacks say.

    What is compiled is taken without a look at its source, whose time stamps an archive changes.

    Raises:
        PackError: a module is no Python of that version.
    """
    options = ["-q", "-j", "1", "--invalidation-mode", "unchecked-hash", "-s", str(directory), "-p", place]
    # Some of Python's variables put compiled modules elsewhere; the seed decides the order of sets, which is written.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(  # noqa: S603 - a Python
        [python, "-P", "-m", "compileall", *options, str(directory)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**environment, "PYTHONHASHSEED": "0"},
        cwd=directory.anchor,
    )
    if done.returncode:
        raise PackError(f"{python} can't compile the packages: {done.stdout.strip() or done.stderr.strip()}")
