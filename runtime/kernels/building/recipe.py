"""How the shared library is compiled: each platform, each source with its own flags. Nothing else knows them.

The compiler is zig's clang, which comes as the package ziglang with the headers of every platform. So any machine makes
the library of any platform, with the same bytes.
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"

# What the library offers; everything else is hidden.
EXPORTS = ("RegisterCustomOps", "embedge_arithmetic", "embedge_isa")

# No multiply-add that the source does not ask for: an instruction set may not change the bits by itself.
STRICT = ("-std=c++20", "-O3", "-ffp-contract=off", "-fno-fast-math", "-Wall", "-Wextra", "-Werror", "-g0")
# zig adds traps for undefined behaviour unless told not to.
# Exceptions of ONNX Runtime pass through, as when memory runs out, which takes unwind tables.
COMPILE = (*STRICT, "-fno-exceptions", "-funwind-tables", "-fno-rtti", "-fvisibility=hidden", "-fno-sanitize=all")

# zig takes an ARM CPU's features only in -mcpu, so a source names all of it there.
_X86_64 = "-mcpu=x86_64"
_ARM64 = "-mcpu=generic"
# Else clang takes vpdpwssd apart, into two instructions.
_X86_64_VNNI = f"{_X86_64}+fast_dpwssd"
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512")

# What every CPU of a kind can run; the files of instruction sets are called only where the CPU has them.
_SHARED = ("library.cpp", "encoder_layer.cpp", "layer_weights.cpp", "small_ops.cpp", "cpu.cpp", "isa_scalar.cpp")
SOURCES_X86_64: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_SHARED, (_X86_64,)),
    "isa_avx2.cpp": (_X86_64, "-mavx2", "-mfma"),
    "isa_avx_vnni.cpp": (_X86_64_VNNI, "-mavx2", "-mfma", "-mavxvnni"),
    "isa_avx512_vnni.cpp": (_X86_64_VNNI, "-mfma", *_AVX512),
}
SOURCES_ARM64: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_SHARED, (_ARM64,)),
    "isa_neon.cpp": (_ARM64,),
    "isa_neon_dotprod.cpp": (f"{_ARM64}+dotprod",),
    "isa_neon_i8mm.cpp": (f"{_ARM64}+dotprod+i8mm",),
}

_ELF = ("-Wl,-z,defs", "-lm")
_MACHO = ("-Wl,-install_name,@rpath/libembedge_kernels.dylib", "-Wl,-x")
_PE = ("-Wl,-Brepro",)  # no date in the file


@dataclass(frozen=True)
class Target:
    """A platform: zig's name of it, the tag of its wheel, the library's file name, and what it is made of."""

    triple: str
    tag: str
    library: str
    sources: Mapping[str, Sequence[str]]
    link: Sequence[str]

    @property
    def relocatable(self) -> Sequence[str]:
        """The flag for code that runs at any address, which Windows' always does."""
        return () if self.library.endswith(".dll") else ("-fPIC",)


_SO, _DYLIB, _DLL = "libembedge_kernels.so", "libembedge_kernels.dylib", "embedge_kernels.dll"
_MANYLINUX = "manylinux_2_17_{0}.manylinux2014_{0}"

TARGETS = (
    Target("x86_64-linux-gnu.2.17", _MANYLINUX.format("x86_64"), _SO, SOURCES_X86_64, _ELF),
    Target("aarch64-linux-gnu.2.17", _MANYLINUX.format("aarch64"), _SO, SOURCES_ARM64, _ELF),
    Target("x86_64-linux-musl", "musllinux_1_2_x86_64", _SO, SOURCES_X86_64, _ELF),
    Target("aarch64-linux-musl", "musllinux_1_2_aarch64", _SO, SOURCES_ARM64, _ELF),
    Target("x86_64-macos.11.0", "macosx_11_0_x86_64", _DYLIB, SOURCES_X86_64, _MACHO),
    Target("aarch64-macos.11.0", "macosx_11_0_arm64", _DYLIB, SOURCES_ARM64, _MACHO),
    Target("x86_64-windows-gnu", "win_amd64", _DLL, SOURCES_X86_64, _PE),
)


class CannotCompile(RuntimeError):
    """The library can't be made; the message is the compiler's, or says what is missing."""


def find_target(triple: str) -> Target:
    """The target that zig calls ``triple``.

    Raises:
        CannotCompile: there is none of that name.
    """
    for target in TARGETS:
        if target.triple == triple:
            return target
    raise CannotCompile(f"there is no target {triple!r}; there are {', '.join(target.triple for target in TARGETS)}")


def native_target() -> Target:
    """The target that this Python runs on.

    Raises:
        CannotCompile: the platform is none of those.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    system = {"linux": f"linux-{libc}", "darwin": "macos", "win32": "windows-gnu"}.get(sys.platform, sys.platform)
    for target in TARGETS:
        if target.triple.startswith(f"{machine}-{system}"):
            return target
    raise CannotCompile(f"there are no kernels for {machine}-{system}: use embedge without embedge-kernels")


def compile_sources(target: Target, directory: Path) -> list[Path]:
    """Compile the sources of ``target``, side by side, into object files in ``directory``.

    Raises:
        CannotCompile: a source is missing, or the compiler finds fault with one.
    """
    for name in target.sources:
        if not (SOURCES / name).is_file():
            raise CannotCompile(f"{target.triple} is made of src/{name}, which is missing")
    objects = [(directory / source).with_suffix(".o") for source in target.sources]
    commands = [
        [*COMPILE, *target.relocatable, *flags, "-c", source, "-o", str(made)]
        for (source, flags), made in zip(target.sources.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for compiled in [pool.submit(_zig, "c++", target, command, directory) for command in commands]:
            compiled.result()
    return objects


def compile_library(target: Target, directory: Path) -> Path:
    """Compile the library of ``target`` into ``directory``, and return its path.

    Raises:
        CannotCompile: a source is missing, or the compiler finds fault with one.
    """
    library = directory / target.library
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        objects = map(str, compile_sources(target, place))
        # As C, since the code needs nothing of the C++ library but headers.
        _zig("cc", target, ["-shared", "-s", "-o", str(place / target.library), *objects, *target.link], place)
        library.write_bytes((place / target.library).read_bytes())
    return library


def compile_program(source: Path, directory: Path) -> Path:
    """Compile a program of ``source`` and the kernels for this machine into ``directory``, and return its path.

    Raises:
        CannotCompile: the platform has no kernels, or the compiler finds fault with a source.
    """
    target = native_target()
    program = directory / source.stem
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        objects = map(str, compile_sources(target, place))
        _zig("c++", target, [*STRICT, "-I.", str(source.absolute()), *objects, "-o", str(program)], place)
    return program


def _zig(command: str, target: Target, arguments: Sequence[str], cache: Path) -> None:
    # In the sources' directory and with their names alone, so that no path of this machine gets into the library. What
    # zig keeps for other builds lies in the user's cache; what it would keep beside the sources is thrown away.
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(cache / "cache")}
    zig = [sys.executable, "-m", "ziglang", command, "-target", target.triple]
    done = subprocess.run([*zig, *arguments], cwd=SOURCES, env=environment, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise CannotCompile(f"zig {command} for {target.triple}:\n{done.stdout}{done.stderr}")
