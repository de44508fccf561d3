"""``healthy.py PORT``: whether the server on this machine takes requests, by the exit code: 0 or 1. For HEALTHCHECK.

By a socket, since an HTTP client takes twice the memory, of which the container has little.
"""

import socket
import sys


def is_ready(port: int) -> bool:
    """Whether ``/health/ready`` answers with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
            connection.sendall(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(int(sys.argv[1])) else 1)
