"""Where the server listens: the addresses of a host, or a Unix socket.

Bound before models are loaded, so that errors come soon.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from embedge.errors import EmbedgeError

_BACKLOG = 2048


@dataclass
class Listeners:
    """Sockets that are bound; nobody can connect before :meth:`listen`."""

    sockets: list[socket.socket]
    url: str
    """What a client on this machine opens."""
    is_local: bool
    """Whether only this machine can connect."""
    path: Path | None = None
    """The Unix socket's file."""
    inode: int = 0

    def listen(self) -> None:
        """Let clients connect.

        Raises:
            EmbedgeError: another program has listened on the same address since.
        """
        for one in self.sockets:
            try:
                one.listen(_BACKLOG)
            except OSError as exc:
                raise _error(exc, self.url) from exc

    def close(self) -> None:
        """Let go of the addresses, and remove the socket's file unless another has taken its place."""
        for one in self.sockets:
            one.close()
        if self.path:
            with contextlib.suppress(OSError):
                if self.path.stat().st_ino == self.inode:
                    self.path.unlink()


def bind(host: str, port: int) -> Listeners:
    """The addresses of ``host``; a ``port`` of 0 takes one that is free.

    Raises:
        EmbedgeError: there is no such host on this machine, or the port is in use or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise EmbedgeError(f"--host {host}: {getattr(exc, 'strerror', None) or exc}") from exc
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        # All addresses of a host get the port that the first one found.
        port = port or (sockets[0].getsockname()[1] if sockets else 0)
        try:
            sockets.append(_bind_one(family, kind, protocol, (address[0], port, *address[2:])))
        except OSError as exc:
            # localhost may have an address of IPv6 where the machine has none.
            if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for one in sockets:
                    one.close()
                raise _error(exc, f"{host}:{port}") from exc
            absent = exc
    if not sockets:
        assert absent
        raise _error(absent, f"{host}:{port}") from absent
    addresses = [ipaddress.ip_address(one.getsockname()[0].partition("%")[0]) for one in sockets]
    name = "localhost" if addresses[0].is_unspecified else f"[{host}]" if ":" in host else host
    return Listeners(
        sockets,
        f"http://{name}:{sockets[0].getsockname()[1]}",
        is_local=all(address.is_loopback for address in addresses),
    )


def _bind_one(family: int, kind: int, protocol: int, address: tuple[object, ...] | str) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def bind_unix(path: Path) -> Listeners:
    """A Unix socket at ``path``, in the place of one that a server has left behind.

    Raises:
        EmbedgeError: a server listens there, a file of another kind is there, or none can be made.
    """
    try:
        if path.is_symlink() or path.exists():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise EmbedgeError(f"--uds {path}: a file that is no socket is there")
            if _answers(path):
                raise EmbedgeError(f"--uds {path}: a server listens there already")
            path.unlink()
        made = _bind_one(socket.AF_UNIX, socket.SOCK_STREAM, 0, str(path))
    except OSError as exc:
        raise EmbedgeError(f"--uds {path}: {exc.strerror or exc}") from exc
    # At once, or another server that starts now would take it for one that was left behind.
    made.listen(_BACKLOG)
    return Listeners([made], f"unix:{path}", is_local=True, path=path.absolute(), inode=path.stat().st_ino)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def _error(error: OSError, address: str) -> EmbedgeError:
    if error.errno == errno.EADDRINUSE:
        return EmbedgeError(f"{address} is in use: choose another --port, or 0 for one that is free")
    if error.errno == errno.EACCES:
        return EmbedgeError(f"{address}: this user may not listen there: choose a --port from 1024 up")
    if error.errno == errno.EADDRNOTAVAIL:
        return EmbedgeError(f"{address}: this machine has no such address")
    return EmbedgeError(f"{address}: {error.strerror or error}")
