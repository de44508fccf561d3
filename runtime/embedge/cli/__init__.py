"""``embedge``: the command line. Each subcommand is a module with ``EXAMPLE``, ``add`` (its options) and ``run``.

Only :mod:`argparse` is imported here and at the top of those modules, so that ``embedge --help`` is instant. Errors are
one line on standard error. Exit codes: 0 done, 1 an error, 2 wrong usage, 129 the terminal was closed, 130 Ctrl-C,
141 the reader of standard output went away, 143 SIGTERM.
"""

import argparse
import importlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from embedge.cli import streams
from embedge.errors import EmbedgeError

COMMANDS = (
    "inspect", "export", "convert", "embed", "search", "rerank", "serve", "pack", "list", "remove", "info", "verify",
    "doctor",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; without ``arguments`` as the program, with those of its process.

    A program ends with this: from here on it ignores the signals that would change its exit code.
    """
    stopped_by = 0

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal stopped_by
        stopped_by = number
        raise KeyboardInterrupt  # an exception, so that what is half written is removed on the way out

    before = _handle_signals(stop)
    try:
        code = _run(arguments)
    except BaseException as exc:
        # Whatever it is by now: extension modules that are hit while they start report an ImportError.
        if stopped_by:
            streams.discard_output()
            streams.tell(f"stopped by {signal.Signals(stopped_by).name}")
            code = 128 + stopped_by
        else:
            code = _fail(exc)
    for number, handler in before.items():
        signal.signal(number, signal.SIG_IGN if arguments is None else handler)
    return code


def _handle_signals(handler: Callable[[int, FrameType | None], NoReturn]) -> "dict[int, signal._HANDLER]":
    """Have ``handler`` called for the signals that end a program; returns the handlers before."""
    before: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # Ignored by nohup, and in the background jobs of a shell: it stays so.
            if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    return before


def _run(arguments: Sequence[str] | None) -> int:
    streams.prepare()
    try:
        options = _parser().parse_args(arguments)
        _show_warnings_as_lines()
        code: int = options.run(options)
    except SystemExit as exc:  # argparse, which has printed help, the version or an error
        code = int(exc.code or 0)
    sys.stdout.flush()
    return code


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
        subparser = commands.add_parser(name, help=summary, description=summary, epilog=f"Example: {command.EXAMPLE}")
        command.add(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _fail(error: BaseException) -> int:
    """Print an error as one line and return the exit code; what nobody foresaw is raised again."""
    if isinstance(error, BrokenPipeError):
        streams.discard_output()
        return 141
    if isinstance(error, EmbedgeError | ValueError):
        message = str(error)
    elif isinstance(error, MemoryError) or "bad_alloc" in str(error):
        message = "out of memory"
    elif isinstance(error, OSError):
        streams.discard_output()
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    elif isinstance(error, ImportError):
        message = f"a package can't be loaded: {_first_cause(error)}"
    elif type(error).__name__ == "PanicException":  # of a library in Rust, derived from BaseException
        message = f"a library failed: {error}"
    else:
        raise error
    streams.tell(f"error: {message}")
    return 1


def _first_cause(error: BaseException) -> BaseException:
    return _first_cause(error.__cause__) if error.__cause__ else error


def _show_warnings_as_lines() -> None:
    import warnings

    warnings.simplefilter("always", UserWarning)
    warnings.formatwarning = lambda message, *_, **__: f"embedge: warning: {message}\n"
