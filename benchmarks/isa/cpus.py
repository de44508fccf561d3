"""The CPUs of `make isa`, and how to start Python on each."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.isa.parts import arm64_system, arm64_wheels, emulators, kernels, make_once

_RUNTIME = Path(__file__).parents[2] / "runtime"


class ChildFailed(RuntimeError):
    """The program failed on some CPU; the message is what it said last."""


@dataclass(frozen=True)
class Cpu:
    """A CPU by its name in qemu, whether products of unsigned by signed 8-bit numbers are exact on it, if known, and
    the instruction set that ``embedge-kernels`` takes on it, empty where it is not known.
    """

    name: str
    machine: Literal["native", "x86_64", "aarch64"]
    exact_u8s8: bool | None
    isa: str = ""
    implementer: str = ""
    part: str = ""

    @property
    def emulator(self) -> str:
        """The program it is emulated by."""
        return "none" if self.machine == "native" else f"qemu-{self.machine}"


NATIVE = Cpu("native", "native", exact_u8s8=None)
# Longest first, since they run side by side. No version of qemu emulates AVX-512 for programs, so Skylake-Server is an
# AVX2 machine with another name. Of the three for ARM, the first has no dot products of 8-bit integers, the second
# SDOT and UDOT, the last, which is everything that qemu knows, also the matrix products of i8mm.
EMULATED = (
    Cpu("max", "aarch64", exact_u8s8=True, isa="neon_i8mm", implementer="0x00", part="0x051"),
    Cpu("cortex-a76", "aarch64", exact_u8s8=True, isa="neon_dotprod", implementer="0x41", part="0xd0b"),
    Cpu("cortex-a53", "aarch64", exact_u8s8=True, isa="neon", implementer="0x41", part="0xd03"),
    Cpu("Haswell", "x86_64", exact_u8s8=False, isa="avx2"),
    Cpu("Skylake-Server", "x86_64", exact_u8s8=False, isa="avx2"),
)

_CPUINFO = """\
processor\t: {number}
CPU implementer\t: {implementer}
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 0

"""


@dataclass(frozen=True)
class Python:
    """A Python interpreter on some CPU, with what embedge needs."""

    command: Sequence[str]
    path: Sequence[Path]

    def run(self, script: Path, arguments: Sequence[str], seconds: float, isa: str = "") -> None:
        """Run ``script``, for so many ``seconds`` at the most; ``isa`` is what ``EMBEDGE_ISA`` asks the kernels for.

        Raises:
            ChildFailed: it ended with an error, or did not end.
        """
        left_out = ("PYTHON", "QEMU", "EMBEDGE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, self.path))
        environment["EMBEDGE_ISA"] = isa
        # The interpreters share the sources, not what they compile them to.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [*self.command, "-s", "-P", str(script), *arguments]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as exc:
            raise ChildFailed(f"no end after {exc.timeout:g} seconds") from exc
        if done.returncode:
            raise ChildFailed(f"exit status {done.returncode}\n{done.stderr.strip()[-2000:]}")


def python(cpu: Cpu, place: Path) -> Python:
    """A Python on ``cpu``; what it takes is got into ``place`` when it is not there.

    Raises:
        MissingPart: it is unavailable, or the kernels can't be compiled.
    """
    # Not the virtual environment's link: under emulation Python does not find the environment by it.
    here = str(Path(sys.executable).resolve())
    installed = [
        kernels(place),
        _RUNTIME,
        *map(Path, sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})),
    ]
    if cpu.machine == "native":
        return Python([here], installed)
    emulator = [str(emulators(place) / cpu.emulator), "-cpu", cpu.name]
    if cpu.machine == "x86_64":
        return Python([*emulator, here], installed)
    system = arm64_system(place)
    root = make_once(place / f"arm64-{cpu.name}", f"{cpu} {_CPUINFO}", lambda into: _add_cpuinfo(cpu, system, into))
    command = [*emulator, "-L", str(root), str(system / "usr/bin/python3")]
    return Python(command, [kernels(place, "aarch64-linux-gnu.2.17"), _RUNTIME, arm64_wheels(place, system)])


def _add_cpuinfo(cpu: Cpu, system: Path, root: Path) -> None:
    """Make ``root`` the system with a ``/proc/cpuinfo`` that names ``cpu``.

    qemu 7 shows programs the real machine's, in which ONNX Runtime's detection of ARM CPUs finds none: importing
    onnxruntime 1.32 ends in a segmentation fault. Files below ``-L`` come before the machine's.
    """
    # In Debian 13 all libraries are packed below usr, and lib is a link that no package has.
    for name, origin in (("usr", "usr"), ("lib", "lib" if (system / "lib").exists() else "usr/lib")):
        (root / name).symlink_to(Path("..", system.name, origin))
    (root / "proc").mkdir()
    numbers = range(os.cpu_count() or 1)
    entries = [_CPUINFO.format(number=number, implementer=cpu.implementer, part=cpu.part) for number in numbers]
    (root / "proc" / "cpuinfo").write_text("".join(entries))
