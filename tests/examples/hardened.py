"""``hardened.py UNIT PROGRAM...``: runs a program under what a unit restricts, as far as that needs no systemd.

System calls (by libseccomp, with the sets of ``systemd-analyze``), memory that is both written and executed, new
privileges, open files and the umask. Linux 6.3 or newer.
"""

import ctypes
import ctypes.util
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

_NO_NEW_PRIVILEGES, _NO_EXECUTE_GAIN, _GET_NO_EXECUTE_GAIN = (38, 1), (65, 1), 66  # of prctl
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def problem() -> str | None:
    """Why nothing can be restricted here; ``None`` where it can."""
    for name in ("systemd-analyze", "seccomp"):
        if not (shutil.which(name) or ctypes.util.find_library(name)):
            return f"there is no {name}"
    return "Linux 6.3 is needed" if ctypes.CDLL(None).prctl(_GET_NO_EXECUTE_GAIN, 0, 0, 0, 0) < 0 else None


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of each name in a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(" ".join(value.split()))
    return found


def system_calls(filters: list[str]) -> set[str]:
    """Those that the lines of ``SystemCallFilter`` leave, of which the first says what is allowed."""
    allowed: set[str] = set()
    for line in filters:
        for name in line.removeprefix("~").split():
            calls = _members(name)
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    # systemd always allows these.
    return allowed | _members("@default")


def _members(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True
    )
    lines = [line.strip() for line in told.stdout.splitlines()[1:]]
    return set().union(*(_members(line) for line in lines if line and not line.startswith("#")))


def restrict(unit: dict[str, list[str]]) -> None:
    """Give up, in this process and those that follow, what the unit takes away."""
    import resource  # which Windows has not

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = int(unit["LimitNOFILE"][0])
    if most == resource.RLIM_INFINITY or files < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(int(unit["UMask"][0], 8))
    libc = ctypes.CDLL(None, use_errno=True)
    assert unit["NoNewPrivileges"] == unit["MemoryDenyWriteExecute"] == ["yes"]
    for what, value in (_NO_NEW_PRIVILEGES, _NO_EXECUTE_GAIN):
        if libc.prctl(what, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({what})")
    _filter(system_calls(unit["SystemCallFilter"]))


def _filter(allowed: set[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for name in sorted(allowed):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # not one of another architecture's
            library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), ctypes.c_int(number), ctypes.c_uint(0))
    if library.seccomp_load(context):
        raise OSError("the filter of system calls can't be loaded")


if __name__ == "__main__":
    restrict(settings(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
