"""Unpacks Debian packages of any architecture into a directory, as any user and without touching the system's own apt.

apt reads the machine's sources and keys in ``/etc/apt``, and keeps everything it writes in a directory of its own,
whose list of installed packages is empty; so it also fetches all that the packages depend on.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Given by -c, it is read last and so outdoes the files in /etc/apt/apt.conf.d, whose hooks are for the system's apt.
_CONFIGURATION = """\
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State "{directory}";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}";
Dir::Log "{directory}";
"""


class MissingPart(RuntimeError):
    """Something that the emulation needs can't be had; the message says what to do."""


def native_architecture() -> str:
    """Debian's name for this machine's architecture, such as ``amd64``."""
    return _run(["dpkg", "--print-architecture"]).stdout.strip()


def unpack(packages: Sequence[str], architecture: str, into: Path) -> None:
    """Fetch ``packages`` and what they depend on, and unpack them all into ``into``, an existing directory.

    Raises:
        MissingPart: there is no apt, no network, or no such package.
    """
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".apt-") as name:
        directory = Path(name)
        for part in ("lists/partial", "archives/partial"):
            (directory / part).mkdir(parents=True)
        (directory / "status").touch()
        configuration = directory / "apt.conf"
        configuration.write_text(_CONFIGURATION.format(architecture=architecture, directory=directory))
        apt = ["apt-get", "-c", str(configuration), "-qq"]
        # It succeeds also where a source could not be reached, which may be one that is not needed.
        update = _run([*apt, "update"])
        _run([*apt, "--yes", "--download-only", "install", *packages], said_before=update.stderr)
        for package in sorted((directory / "archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(into)])


def _run(command: Sequence[str], *, said_before: str = "") -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        raise MissingPart(f"there is no {command[0]} here: `make isa` unpacks Debian packages, run it on Debian")
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (said_before + done.stdout + done.stderr).strip()
        raise MissingPart(
            f"`{' '.join(command)}` failed; it needs network, and sources in /etc/apt that have the packages for the "
            f"architecture (Debian 12 or newer). It said:\n{said}"
        )
    return done
