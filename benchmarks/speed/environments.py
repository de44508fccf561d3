"""A virtual environment for each set of packages that the contenders need, under `.bench/environments`."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCH = ROOT / ".bench"
_REQUIREMENTS = Path(__file__).parent / "requirements"
# A line "# without: NAME" takes out again what a package requires, does not need, and pip resolves to a broken build.
_WITHOUT = "# without:"


class Unavailable(Exception):
    """A contender, or what it needs, is unavailable here; the message says why."""


def python_of(name: str) -> Path:
    """The interpreter of environment ``name``, made first if its requirements are new."""
    place = BENCH / "environments" / name
    python = place / "bin" / "python"
    requirements = requirements_of(name)
    stamp = place / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if name.startswith("embedge"):
        # Not editable, so that what is measured is what a user installs; it changes with every edit.
        trees = ("embedge", "kernels") if "kernels" in name else ("embedge",)
        sources = [ROOT / "pyproject.toml"]
        sources += sorted(path for tree in trees for path in (ROOT / "runtime" / tree).glob("**/*.*[!c]"))
        digest += hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print(f"installing environment {name}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    run([sys.executable, "-m", "venv", place])
    run([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"])
    run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], cwd=ROOT)
    for line in requirements.read_text().splitlines():
        if line.startswith(_WITHOUT):
            run([python, "-m", "pip", "uninstall", "--quiet", "--yes", line.removeprefix(_WITHOUT).strip()])
    stamp.write_text(digest)
    return python


def requirements_of(name: str) -> Path:
    """The file that says what environment ``name`` has."""
    return _REQUIREMENTS / f"{name}.txt"


def installed_mb(name: str) -> float:
    """Size of the environment's packages, without pip and setuptools, which every environment starts with."""
    (packages,) = (BENCH / "environments" / name / "lib").glob("python*/site-packages")
    tools = ("pip", "setuptools", "_distutils")
    return (
        sum(
            path.stat().st_size
            for entry in packages.iterdir()
            if not entry.name.startswith(tools)
            for path in ([entry] if entry.is_file() else entry.rglob("*"))
            if path.is_file()
        )
        / 1e6
    )


def run(command: list[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run ``command`` quietly; its last lines become the reason if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        tail = " / ".join(line for line in done.stderr.strip().splitlines()[-3:])
        raise Unavailable(f"`{' '.join(map(str, command[:6]))} ...` failed: {tail[-400:]}")
