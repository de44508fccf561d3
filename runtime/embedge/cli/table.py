"""Two columns on a terminal."""

from collections.abc import Sequence


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names on the left, padded to one width; an empty name continues the row above."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
