"""A program in a container's place: in a root of its own, read-only, as process 1, as nobody, with limits.

By Linux's name spaces and control groups of version 1, which need root. The Python and the libraries are this
machine's; no shell is within reach.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.speed.environments import Unavailable

_GROUPS = Path("/sys/fs/cgroup")
_NOBODY = "65532:65532"
# Where Python's image has it, whatever this machine calls it.
PYTHON = f"/usr/local/bin/{Path(sys.executable).resolve().name}"

# Libraries of this machine, where there are any of the name.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


def check() -> None:
    """``Unavailable`` where no such sandbox can be made."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("name spaces need root on Linux")
    for program in ("unshare", "setpriv", "chroot", "mount"):
        if shutil.which(program) is None:
            raise Unavailable(f"there is no {program} on this machine")
    # Within another container's rules new name spaces may be allowed, and mounts in them not.
    mount = ["mount", "--bind", "/dev", "/mnt"]
    spaces = ["unshare", "--mount", "--pid", "--fork", "--propagation", "private"]
    tried = subprocess.run([*spaces, *mount], capture_output=True, text=True)
    if tried.returncode:
        raise Unavailable(f"no name spaces can be made: {tried.stderr.strip()}")


def command(
    root: Path, program: Sequence[str], environment: Mapping[str, str], groups: Sequence[Path] = (), user: str = _NOBODY
) -> list[str]:
    """What runs ``program`` in ``root`` as ``user``, within the control ``groups``; it ends with its exit code.

    ``python`` as the program is this Python.
    """
    steps = [f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}" for group in groups]
    steps.append(f"mount --bind {shlex.quote(str(root))} {shlex.quote(str(root))}")
    libraries = {path: path for path in _LIBRARIES if Path(path).is_dir()}
    for source, target in {**libraries, sys.base_prefix: "/usr/local", "/sys": "/sys"}.items():
        place = root / target[1:]
        place.mkdir(parents=True, exist_ok=True)
        steps.append(f"mount --rbind {shlex.quote(source)} {shlex.quote(str(place))}")
        steps.append(f"mount -o remount,bind,ro {shlex.quote(str(place))}")
    (root / "proc").mkdir(exist_ok=True)
    steps.append(f"mount -t proc proc {shlex.quote(str(root / 'proc'))}")
    (root / "dev").mkdir(exist_ok=True)
    for device in ("null", "urandom"):
        place = root / "dev" / device
        place.touch()
        steps.append(f"mount --bind /dev/{device} {shlex.quote(str(place))}")
    steps.append(f"mount -o remount,bind,ro {shlex.quote(str(root))}")
    first = PYTHON if program[0] == "python" else program[0]
    # Else a Python of the system's might lend this one its library.
    base = {"PATH": "/usr/local/bin", "LD_LIBRARY_PATH": "/usr/local/lib"}
    variables = [f"{name}={value}" for name, value in {**base, **environment}.items()]
    inner = ["env", "-i", *variables, "setpriv", "--no-new-privs", "chroot", f"--userspec={user}", "--groups="]
    steps.append(f"exec {shlex.join([*_found(inner), str(root), first, *program[1:]])}")
    script = " && ".join(steps)
    return ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", script]


def _found(words: Sequence[str]) -> list[str]:
    """With the programs' paths, since the environment has none for them."""
    return [shutil.which(word) or word if word in ("env", "setpriv", "chroot") else word for word in words]


def first_process(started: "subprocess.Popen[str]") -> int:
    """The number, out here, of the process that is number 1 in there.

    Raises:
        ProcessLookupError: it has ended.
    """
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    if not children:
        raise ProcessLookupError("nothing runs in the sandbox")
    return int(children[0])


def kill(started: "subprocess.Popen[str]") -> None:
    """End what runs in there: the kernel ends it with its parent only as long as it is root's."""
    if started.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first_process(started), signal.SIGKILL)
        started.wait()


@contextlib.contextmanager
def group(controller: str, limits: Mapping[str, int]) -> Iterator[Path]:
    """A control group of our own with these limits, by the names of their files.

    Raises:
        Unavailable: none can be made here.
    """
    made = _GROUPS / controller / f"embedge-{os.getpid()}-{controller}"
    try:
        made.mkdir()
    except OSError as exc:
        raise Unavailable(f"no control group can be made in {made.parent}: {exc.strerror}") from exc
    try:
        for name, value in limits.items():
            (made / name).write_text(str(value))
        yield made
    finally:
        made.rmdir()


def quota(cpus: float) -> contextlib.AbstractContextManager[Path]:
    """A group that may use so many CPUs; errors as for :func:`group`."""
    return group("cpu", {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": int(cpus * 100_000)})
