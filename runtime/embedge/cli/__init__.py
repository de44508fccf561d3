"""``embedge``: the command line. Each subcommand is a module with ``add`` (its options) and ``run``.

Only :mod:`argparse` is imported here and at the top of those modules, so that ``embedge --help`` is instant. Errors are
one line on standard error. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 Ctrl-C,
141 the reader of standard output went away, 143 told to end.
"""

import argparse
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

COMMANDS = ("export", "embed", "search", "verify", "info", "doctor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    interrupted = False

    def interrupt(number: int, frame: object) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, _end)
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except ImportError:
        # Extension modules that Ctrl-C hits while they start report only that they could not be imported.
        if interrupted:
            return 130
        raise


def _run(arguments: Sequence[str] | None) -> int:
    from embedge.errors import EmbedgeError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where the terminal's encoding is not UTF-8
    options = _parser().parse_args(arguments)
    _show_warnings_as_lines()
    try:
        code: int = options.run(options)
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return 141
    except (EmbedgeError, ValueError) as exc:
        return _fail(str(exc))
    except OSError as exc:
        _discard_output()
        return _fail(f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror or str(exc))
    except MemoryError:
        return _fail("out of memory")
    return code


def _discard_output() -> None:
    """Python flushes standard output once more at its exit, and would report it if it can't."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    from embedge import __version__

    parser = argparse.ArgumentParser(
        prog="embedge", description="Text embeddings on CPUs: encoder checkpoints as small sealed int8 ONNX bundles."
    )
    parser.add_argument("--version", action="version", version=f"embedge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"embedge.cli.{name}")
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        command.add(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _fail(message: str) -> int:
    if sys.stderr:  # print would take None for standard output
        print(f"embedge: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _end(number: int, frame: object) -> NoReturn:
    # As an exception, so that what is half written is removed on the way out.
    raise SystemExit(128 + number)


def _show_warnings_as_lines() -> None:
    import warnings

    warnings.simplefilter("always", UserWarning)
    warnings.formatwarning = lambda message, *_, **__: f"embedge: warning: {message}\n"
