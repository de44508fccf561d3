"""What the emulation needs, got once into ``.isa``: the emulators, an arm64 system with Python, arm64 wheels, and the
kernels.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.isa.debian import MissingPart, native_architecture, unpack

_EMULATORS = ("qemu-x86_64", "qemu-aarch64")
# Debian 12's qemu-user-static names its binaries qemu-*-static; in Debian 13 it brings qemu-user, which does not.
_EMULATOR_PACKAGES = ("qemu-user-static",)
_ARM64_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
# What `embedge` imports; their other requirements are for other uses of them.
_WHEELS = ("numpy", "onnxruntime", "tokenizers")
# Debian 12 has glibc 2.36; the older a wheel's glibc, the better.
_WHEEL_PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)))

_KERNELS = Path(__file__).parents[2] / "runtime" / "kernels"

_MADE_OF = "made-of"


def make_once(target: Path, made_of: str, build: Callable[[Path], None]) -> Path:
    """``target``, which ``build`` fills unless it was made of the same before; complete or absent."""
    stamp = target / _MADE_OF
    if stamp.exists() and stamp.read_text() == made_of:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as name:
        new = Path(name) / target.name
        new.mkdir()
        build(new)
        (new / _MADE_OF).write_text(made_of)
        if target.exists():
            shutil.rmtree(target)
        new.rename(target)
    return target


def emulators(place: Path) -> Path:
    """A directory with the statically linked ``qemu-x86_64`` and ``qemu-aarch64``."""

    def build(into: Path) -> None:
        with tempfile.TemporaryDirectory(dir=into.parent) as name:
            unpack(_EMULATOR_PACKAGES, native_architecture(), Path(name))
            # The packages hold one for every machine there is, 380 MB.
            for emulator in _EMULATORS:
                found = [path for path in Path(name).glob(f"usr/bin/{emulator}*") if not path.is_symlink()]
                if not found:
                    raise MissingPart(f"{', '.join(_EMULATOR_PACKAGES)} has no usr/bin/{emulator}")
                shutil.copy2(min(found), into / emulator)

    return make_once(place / "emulators", " ".join(_EMULATOR_PACKAGES), build)


def emulator_version(place: Path) -> str:
    """What the emulators say of themselves, such as ``qemu-x86_64 version 7.2.22 (Debian ...)``."""
    command = [str(emulators(place) / _EMULATORS[0]), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[0]


def arm64_system(place: Path) -> Path:
    """A directory with ``usr/bin/python3`` for arm64 and the libraries it loads, from Debian packages."""
    return make_once(place / "arm64", " ".join(_ARM64_PACKAGES), lambda into: unpack(_ARM64_PACKAGES, "arm64", into))


def arm64_wheels(place: Path, system: Path) -> Path:
    """A directory with the packages that embedge imports, for the Python of ``system`` and in this one's versions."""
    interpreter = (system / "usr" / "bin" / "python3").readlink().name
    version = re.fullmatch(r"python(3\.\d+)", interpreter)
    if version is None:
        raise MissingPart(f"{system} has {interpreter} for its python3; remove it and run `make isa` again")
    wheels = [f"{name}=={importlib.metadata.version(name)}" for name in _WHEELS]
    options = ["--only-binary=:all:", "--no-deps", "--implementation=cp", f"--python-version={version[1]}"]
    options += [f"--platform={platform}" for platform in _WHEEL_PLATFORMS]

    def build(into: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options, f"--target={into}", *wheels]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise MissingPart(f"pip has no {' '.join(wheels)} for {interpreter} on arm64:\n{done.stderr.strip()}")

    return make_once(place / "wheels", f"{interpreter} {' '.join(wheels)}", build)


def kernels(place: Path, target: str = "") -> Path:
    """A directory with the package ``embedge_kernels`` as its sources are now, for a platform by zig's name of it.

    Without one, for this machine.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in _KERNELS.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(b"%s\0%s\0" % (os.fsencode(path.relative_to(_KERNELS)), path.read_bytes()))

    def build(into: Path) -> None:
        with tempfile.TemporaryDirectory(dir=into.parent) as name:
            command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", name]
            environment = {**os.environ, "EMBEDGE_KERNELS_TARGET": target}
            done = subprocess.run(command, cwd=_KERNELS, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise MissingPart(f"the kernels can't be compiled:\n{done.stdout}{done.stderr}")
            (wheel,) = Path(name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(into)

    return make_once(place / f"kernels-{target or 'native'}", digest.hexdigest(), build)
