"""``embedge``: the command line. Each subcommand is a module with ``add`` (its options) and ``run``.

Only :mod:`argparse` is imported here and at the top of those modules, so that ``embedge --help`` is instant. Errors are
one line on standard error. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 Ctrl-C,
141 the reader of standard output went away, 143 told to end.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from embedge import EmbedgeError, __version__
from embedge.cli import doctor, embed, export, info, search, verify

COMMANDS = (export, embed, search, verify, info, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    _show_warnings_as_lines()
    signal.signal(signal.SIGTERM, _end)
    try:
        code: int = options.run(options)
        if sys.stdout:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except ImportError as exc:
        # Extension modules that Ctrl-C hits while they start report that they could not be imported.
        if _is_interrupt(exc):
            return 130
        raise
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


def _is_interrupt(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _discard_output() -> None:
    """Python flushes standard output once more at its exit, and would report it if it can't."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedge", description="Text embeddings on CPUs: BERT checkpoints as small sealed int8 ONNX bundles."
    )
    parser.add_argument("--version", action="version", version=f"embedge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        command.add(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _fail(message: str) -> int:
    print(f"embedge: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _end(number: int, frame: object) -> NoReturn:
    # As an exception, so that what is half written is removed on the way out.
    raise SystemExit(128 + number)


def _show_warnings_as_lines() -> None:
    import warnings

    warnings.simplefilter("always", UserWarning)
    warnings.formatwarning = lambda message, *_, **__: f"embedge: warning: {message}\n"
