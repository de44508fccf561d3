"""``embedge pack lambda``: a bundle as a function of AWS Lambda, in a zip file."""

import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from embedge.bundle import Bundle
from embedge.errors import PackError
from embedge.pack.archive import size, write_zip
from embedge.pack.bundles import copy_variant
from embedge.pack.bytecode import compile_modules, find_python
from embedge.pack.packages import Package, gather
from embedge.pack.target import Target
from embedge.pack.trial import can_run, try_function
from embedge.pack.unused import remove_unused

ARCHITECTURES: Mapping[str, str] = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's names, and those of wheels."""
PYTHONS = ("3.12", "3.13", "3.14")
"""Those that Lambda has on Amazon Linux 2023."""
MOST_BYTES = 262_144_000
"""What a function may have unzipped."""
HANDLER = """\
from pathlib import Path

from embedge.serverless import load_handler

handler = load_handler(Path(__file__).with_name("bundle"))
"""
"""The module that Lambda is told to import, as ``handler.handler``."""

# Of Amazon Linux 2023.
_GLIBC = 34
# Where Lambda unzips it.
_PLACE = "/var/task"


class Packed(NamedTuple):
    """A function that was written."""

    target: Target
    packages: list[Package]
    sizes: dict[str, int]
    """Bytes, unzipped: of the bundle, the handler and each package by the name that it is imported by."""
    zipped: int
    left_out: int
    """Bytes of the packages that are never imported."""
    compiled: bool
    cosine: float | None
    """Between the vectors that the function computed on this machine and those sealed; ``None`` where it can't run."""

    @property
    def unzipped(self) -> int:
        """Bytes of all."""
        return sum(self.sizes.values())


def lambda_target(architecture: str, python: str) -> Target:
    """What a function runs on; ``PackError`` for a Python that Lambda has not, or not where the packages run."""
    if python not in PYTHONS:
        raise PackError(
            f"no function can be made for Python {python}, only for {', '.join(PYTHONS)}: on Lambda 3.11 and older "
            "ones run on Amazon Linux 2, whose C library is too old for ONNX Runtime's wheels"
        )
    major, minor = python.split(".")
    return Target((int(major), int(minor)), ARCHITECTURES[architecture], _GLIBC)


def pack_function(bundle: Bundle, out: Path, target: Target, *, kernels: Path | None = None) -> Packed:
    """Write the function that embeds by the int8 variant of ``bundle`` on ``target`` into the zip file ``out``.

    Where a Python of that version is on this machine, the modules are compiled. Where the function runs here, too, it
    is tried before it is written. ``kernels`` is a wheel of embedge-kernels for the target.

    Raises:
        PackError: a package can't be had, the function is larger than Lambda takes, or it does not run.
        BundleError: the bundle is damaged.
    """
    if bundle.manifest.task != "embed":
        raise PackError(f"{bundle.path} is made for the task {bundle.manifest.task!r}; the function embeds")
    # What is neither is a device or a pipe, in whose place a file would come.
    if (out.exists() and not out.is_file()) or not out.parent.is_dir():
        raise PackError(f"{out} can't be written: give the path of a file, in a directory that is there")
    with _scratch() as directory:
        copy_variant(bundle, "int8", directory / "bundle")
        packages = gather(target, directory, kernels)
        left_out = remove_unused(directory)
        (directory / "handler.py").write_text(HANDLER, encoding="utf-8")
        python = find_python(target)
        if python:
            compile_modules(python, directory, _PLACE)
        sizes = _sizes(directory)
        if sum(sizes.values()) > MOST_BYTES:
            raise PackError(
                f"the function has {sum(sizes.values()) / 1e6:.0f} MB, {sizes['bundle'] / 1e6:.0f} of them the bundle, "
                f"and Lambda takes {MOST_BYTES / 1e6:.0f}: take a smaller model, or a container image"
            )
        cosine = try_function(python, directory) if python and can_run(target) else None
        write_zip(directory, out)
    return Packed(target, packages, sizes, out.stat().st_size, left_out, python is not None, cosine)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """An empty directory for the time being; ``PackError`` where it can't take what is put there."""
    try:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name).resolve()
    except OSError as exc:
        raise PackError(
            f"the function can't be put together in a temporary directory: {exc.strerror or exc}; $TMPDIR may name "
            "another place"
        ) from exc


def _sizes(directory: Path) -> dict[str, int]:
    """With ``numpy`` count ``numpy.libs`` and ``numpy-2.4.6.dist-info``."""
    sizes: Counter[str] = Counter()
    for path in sorted(directory.iterdir()):
        name = re.split("[.-]", path.name)[0]
        sizes["handler" if name == "__pycache__" else name] += size(path)
    return dict(sizes)
