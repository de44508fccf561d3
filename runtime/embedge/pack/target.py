"""The machine that a package is made for, in the terms of wheels."""

import re
from typing import NamedTuple

# manylinux_2_17 has an older name, too; no later one has.
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# No wheel for Python 3.11 or later is built for an older C library.
_OLDEST_GLIBC = 5


class Target(NamedTuple):
    """A version of Python on Linux."""

    python: tuple[int, int]
    machine: str
    """As wheels call it: ``"x86_64"`` or ``"aarch64"``."""
    glibc: int
    """The version of the C library: 34 stands for 2.34."""

    @property
    def version(self) -> str:
        """The version of Python as it is written."""
        return "{}.{}".format(*self.python)

    @property
    def platforms(self) -> list[str]:
        """The names of platforms whose wheels run there, the newest first."""
        names = []
        for minor in range(self.glibc, _OLDEST_GLIBC - 1, -1):
            names.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _OLD_NAMES:
                names.append(f"{_OLD_NAMES[minor]}_{self.machine}")
        return names

    def takes(self, tag: str) -> bool:
        """Whether a wheel with this tag, such as ``cp310-abi3-manylinux_2_28_x86_64``, runs there."""
        python, abi, platform = tag.split("-")
        if platform != "any" and platform not in self.platforms:
            return False
        major, minor = self.python
        if abi == "none":
            return python in ("py3", f"py{major}{minor}", f"cp{major}{minor}")
        if abi == "abi3":
            since = re.fullmatch(rf"cp{major}(\d+)", python)
            return since is not None and int(since[1]) <= minor
        return python == abi == f"cp{major}{minor}"
