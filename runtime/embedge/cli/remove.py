"""Delete a bundle from the store."""

import argparse

from embedge import store

EXAMPLE = "embedge remove BAAI/bge-small-en"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge remove``."""
    parser.add_argument("name", metavar="NAME", help="the bundle's name, as `embedge list` shows it")


def run(options: argparse.Namespace) -> int:
    """Run ``embedge remove``."""
    size = store.remove(options.name)
    print(f"removed {options.name}, freed {size / 1e6:.1f} MB")
    return 0
