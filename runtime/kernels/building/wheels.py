"""`make wheels`: the wheels of all platforms, into dist; each compiled twice, compared, and its library looked at."""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe import EXPORTS, TARGETS, CannotCompile, Target, native_target
from symbols import read_symbols

_KERNELS = Path(__file__).parents[1]

# The C library, its mathematics and the system's: there on every machine of the platform.
_SYSTEM = ("libc.so", "libc.so.6", "libm.so.6", "/usr/lib/libSystem.B.dylib", "KERNEL32.dll")
_WINDOWS_C = "api-ms-win-crt-"
# zig's linker lets macOS' loader see these too, whatever it is told; they are the names of the file's own start.
_IMAGE = ("__dso_handle", "_mh_dylib_header")


class BadWheel(RuntimeError):
    """A wheel is not as it should be; the message says which and how."""


@dataclass(frozen=True)
class Built:
    """A wheel that passed, its library's size and names, and how long one compilation took."""

    wheel: Path
    target: Target
    library_bytes: int
    exports: Sequence[str]
    seconds: float


def build_wheel(target: Target, directory: Path) -> Path:
    """Build the wheel of ``target`` into an empty directory, offline, with the packages of this Python.

    Raises:
        BadWheel: it can't be built.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    environment = {**os.environ, "EMBEDGE_KERNELS_TARGET": target.triple}
    done = subprocess.run(command, cwd=_KERNELS, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BadWheel(f"{target.triple} can't be built:\n{done.stdout}{done.stderr}")
    (wheel,) = directory.glob("*.whl")
    return wheel


def build_and_check(target: Target, out: Path) -> Built:
    """Build the wheel of ``target`` twice, and put it into ``out`` if it is as it should be.

    Raises:
        BadWheel: it can't be built, differs, holds a path of this machine, or offers or needs something else.
    """
    with tempfile.TemporaryDirectory() as name:
        places = [Path(name, "first"), Path(name, "second")]
        start = time.perf_counter()
        wheel, again = (build_wheel(target, place) for place in places)
        seconds = (time.perf_counter() - start) / 2
        if wheel.read_bytes() != again.read_bytes():
            raise BadWheel(f"{target.triple}: two builds of {wheel.name} differ")
        library = Path(name, target.library)
        with zipfile.ZipFile(wheel) as archive:
            library.write_bytes(archive.read(f"embedge_kernels/{target.library}"))
        check_paths(target, library)
        exports = check_symbols(target, library)
        out.mkdir(exist_ok=True)
        kept = out / wheel.name
        kept.write_bytes(wheel.read_bytes())
        return Built(kept, target, library.stat().st_size, exports, seconds)


def check_paths(target: Target, library: Path) -> None:
    """Raise `BadWheel` if a path of the machine that compiled ``library`` is in it."""
    data = library.read_bytes()
    for path in (_KERNELS, Path(sys.prefix), Path(tempfile.gettempdir()), Path.home()):
        if os.fsencode(path) in data:
            raise BadWheel(f"{target.triple}: {path} is in {library.name}")


def check_symbols(target: Target, library: Path) -> Sequence[str]:
    """The names that ``library`` offers; raises `BadWheel` where they or what it needs is not as planned."""
    symbols = read_symbols(library)
    exports = tuple(name for name in symbols.exports if name not in _IMAGE)
    if exports != EXPORTS:
        raise BadWheel(f"{target.triple}: {library.name} offers {', '.join(exports)}, not {', '.join(EXPORTS)}")
    foreign = [name for name in symbols.needs if name not in _SYSTEM and not name.startswith(_WINDOWS_C)]
    if foreign:
        raise BadWheel(f"{target.triple}: {library.name} needs {', '.join(foreign)}")
    return exports


def instruction_set(built: Built) -> str:
    """What the library chooses on this CPU, which must be of its platform."""
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(built.wheel) as archive:
        library = ctypes.CDLL(archive.extract(f"embedge_kernels/{built.target.library}", name))
        library.embedge_isa.restype = ctypes.c_char_p
        chosen: bytes = library.embedge_isa()
        return chosen.decode()


def main() -> int:
    """Build all of them, or the targets that are named, and print a table; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="as zig calls them; default: all")
    parser.add_argument("--out", type=Path, default=Path("dist"))
    arguments = parser.parse_args()
    failed = False
    print(f"{'target':24} {'library':>9} {'wheel':>9} {'build':>7}  {'exports':32} tested", flush=True)
    for target in TARGETS:
        if arguments.targets and target.triple not in arguments.targets:
            continue
        try:
            built = build_and_check(target, arguments.out)
            tested = "built, untested"
            if target == native_target():
                tested = f"loaded here: {instruction_set(built)}"
        except (BadWheel, CannotCompile) as exc:
            print(exc, file=sys.stderr)
            failed = True
            continue
        sizes = f"{built.library_bytes / 1e3:6.1f} kB {built.wheel.stat().st_size / 1e3:6.1f} kB"
        names = ", ".join(built.exports)
        print(f"{target.triple:24} {sizes} {built.seconds:5.1f} s  {names:32} {tested}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
