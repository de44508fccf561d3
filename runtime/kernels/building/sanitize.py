"""`make sanitize`: the tests of the kernels with a library in which gcc's sanitizers watch each access and each shift.

The library is the recipe's, but for the compiler: zig has no address sanitizer. Python and ONNX Runtime are as they
are, so what is watched is our code alone, in all memory that it touches.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recipe import SOURCES, STRICT, Target, native_target

_KERNELS = Path(__file__).parents[1]
_ROOT = _KERNELS.parents[1]

_WATCHED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# What gcc warns of is shown and no more, since clang has seen the sources. It takes vectors in its own AVX-512 header
# for uninitialised; and how vectors are passed between libraries doesn't matter to one that passes none.
_TALK = ("-Wno-error", "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-psabi")
_FLAGS = (*STRICT, "-O1", "-g", "-fPIC", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden", *_TALK)
# Python leaves much allocated at its end.
_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def build(gcc: str, target: Target, library: Path) -> None:
    """Compile ``target`` with ``gcc`` into ``library``."""
    with tempfile.TemporaryDirectory() as name:
        objects = []
        for source, flags in target.sources.items():
            objects.append(str(Path(name, source).with_suffix(".o")))
            command = [gcc, *_FLAGS, *_WATCHED, *_translated(flags), "-c", source, "-o", objects[-1]]
            subprocess.run(command, cwd=SOURCES, check=True)
        subprocess.run([gcc, "-shared", *_WATCHED, "-o", str(library), *objects, "-lm"], check=True)


def _translated(flags: Sequence[str]) -> list[str]:
    """The flags in gcc's words: it takes an ARM CPU's features in ``-march``, and its base is the recipe's."""
    arm = [flag.replace("-mcpu=generic", "-march=armv8.2-a") for flag in flags if flag.startswith("-mcpu=generic+")]
    return [flag for flag in flags if not flag.startswith("-mcpu=")] + arm


def preloaded(gcc: str) -> str:
    """The libraries that must be there before Python; by the second the first finds C++'s exceptions."""
    names = ("libasan.so", "libstdc++.so.6")
    commands = ([gcc, f"-print-file-name={name}"] for name in names)
    return ":".join(subprocess.check_output(command, text=True).strip() for command in commands)


def main() -> int:
    """Run pytest with the arguments, or else on all tests of the kernels, and return its exit code."""
    gcc = shutil.which("g++")
    if gcc is None:
        print("make sanitize: there is no g++ here; apt-get install g++ brings it", file=sys.stderr)
        return 1
    target = native_target()
    with tempfile.TemporaryDirectory() as name:
        package = Path(name, "embedge_kernels")
        shutil.copytree(_KERNELS / "embedge_kernels", package)
        build(gcc, target, package / target.library)
        # Before the installed package, which has the same name.
        path = os.pathsep.join([name, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **_OPTIONS, "PYTHONPATH": path, "LD_PRELOAD": preloaded(gcc)}
        arguments = sys.argv[1:] or ["-m", "not wheels", "tests/kernels"]
        # -s, since a fault ends the process before pytest shows what it has captured.
        return subprocess.run([sys.executable, "-m", "pytest", "-s", *arguments], cwd=_ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
