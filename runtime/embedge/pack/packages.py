"""The packages that a bundle needs, for the machine that it is packed for.

Their versions are those installed here, with which the bundle was tried. A package whose wheel runs on the target, too,
is copied as it is installed; the others are fetched by pip, from wherever it is configured to.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

import embedge
from embedge.errors import PackError
from embedge.pack.target import Target

NEEDED = ("numpy", "onnxruntime", "tokenizers")
"""What embedge imports when it embeds. What these declare to need beside, they do not import then."""
KERNELS = "embedge-kernels"
# Of embedge itself, what runs on the machine that packs or serves.
_OWN_UNUSED = ("cli", "pack", "server", "__pycache__")


class Package(NamedTuple):
    """A package in the directory that is packed."""

    name: str
    version: str
    origin: str
    """Where it came from, in words."""


def gather(target: Target, directory: Path, kernels: Path | None) -> list[Package]:
    """Put embedge and what it needs on ``target`` into ``directory``.

    ``kernels`` is a wheel of embedge-kernels; without it the one installed here is taken, if it runs there.

    Raises:
        PackError: a package is not installed here, was changed since, or can't be had for the target.
    """
    # Of an archive of sources pip would run the build, for this machine, although it is told to take wheels only.
    if kernels and not (fnmatch(kernels.name, "embedge_kernels-*.whl") and kernels.is_file()):
        raise PackError(f"{kernels} is no wheel of {KERNELS}")
    found = [_copy_embedge(directory), *put(NEEDED, target, directory)]
    installed = _installed(KERNELS)
    if kernels:
        _fetch([str(kernels.resolve())], target, directory)
        found.append(Package(KERNELS, kernels.name.split("-")[1], f"from {kernels.name}"))
    elif installed and _runs_on(installed, target):
        found.append(_copy(installed, directory))
    return found


def put(names: Sequence[str], target: Target, directory: Path) -> list[Package]:
    """Put packages into ``directory``, in the versions that are installed here; errors as for :func:`gather`."""
    found, missing = [], []
    for name in names:
        installed = _installed(name)
        if installed is None:
            raise PackError(f"{name} is not installed here, so its version is not known: pip install {name}")
        if _runs_on(installed, target):
            found.append(_copy(installed, directory))
        else:
            missing.append(Package(name, installed.version, "fetched by pip"))
    if missing:
        _fetch([f"{package.name}=={package.version}" for package in missing], target, directory)
    return [*found, *missing]


def _installed(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _runs_on(installed: metadata.Distribution, target: Target) -> bool:
    """Whether its wheel is one for ``target``; not where it did not come as a wheel, or its files are elsewhere."""
    lines = (installed.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    return installed.files is not None and any(target.takes(tag) for tag in tags)


def _copy(installed: metadata.Distribution, directory: Path) -> Package:
    """Copy what the wheel brought, checked against its own record, but for programs and what pip noted."""
    for file in installed.files or ():
        if file.is_absolute() or ".." in file.parts or file.hash is None:
            continue
        source = Path(str(file.locate()))
        if not source.is_file():
            raise PackError(f"{source} is missing since {installed.name} was installed: install that package again")
        data = source.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, data).digest()).decode().rstrip("=")
        if digest != file.hash.value:
            raise PackError(f"{source} was changed since {installed.name} was installed: install that package again")
        place = directory / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return Package(installed.name, installed.version, "as installed here")


def _copy_embedge(directory: Path) -> Package:
    """Its own files: it may be installed from a checkout, of which there is no wheel."""
    source = Path(embedge.__file__).parent
    shutil.copytree(source, directory / "embedge", ignore=shutil.ignore_patterns(*_OWN_UNUSED))
    return Package("embedge", embedge.__version__, "as installed here")


def _fetch(requirements: Sequence[str], target: Target, directory: Path) -> None:
    if util.find_spec("pip") is None:
        raise PackError(
            f"pip is not installed for {sys.executable}, and fetches {', '.join(requirements)}: run "
            "`python -m ensurepip`, or `uv pip install pip`"
        )
    platforms = [f"--platform={name}" for name in target.platforms]
    options = ["--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp", "--upgrade"]
    # -P: a file of the working directory that is called pip.py is not pip.
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    into = [f"--python-version={target.version}", f"--target={directory}"]
    with tempfile.TemporaryDirectory() as scratch:  # where pip unpacks, which it leaves behind when it is stopped
        done = subprocess.run(  # noqa: S603 - pip, by its module
            [*pip, *options, *platforms, *into, *requirements],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": scratch},
        )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PackError(
            f"pip has not {', '.join(requirements)} for Python {target.version} on {target.machine} with glibc "
            f"2.{target.glibc}: {' '.join(errors) or done.stderr.strip()}"
        )
