"""Serve bundles over HTTP, to the clients of OpenAI, Text Embeddings Inference, Cohere and Ollama.

Runs until Ctrl-C or SIGTERM, and finishes the requests under way.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from embedge.cli.options import add_low_memory, add_provider, find_bundle, load_as, positive
from embedge.errors import EmbedgeError

if TYPE_CHECKING:
    from embedge.loaded import LoadedModel
    from embedge.server import Settings

EXAMPLE = "embedge serve BAAI/bge-small-en --port 8080"

_EXTRA = ("msgspec", "orjson", "prometheus_client", "starlette", "uvicorn")


def seconds(text: str) -> float:
    """A time, for ``argparse``."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a time")
    return number


def port_number(text: str) -> int:
    """A port, for ``argparse``; 0 is one that is free."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 65535")
    return number


def _origin(text: str) -> str:
    scheme, _, host = text.partition("://")
    if text != "*" and (scheme not in ("http", "https") or not host or set(host) & set("/?#* ")):
        raise argparse.ArgumentTypeError(f"{text!r} is not like https://example.org, without a path")
    return text


class _Limit(NamedTuple):
    """A flag for a field of ``Settings``, and its default there."""

    flag: str
    field: str
    kind: Callable[[str], float]
    default: float | None
    metavar: str
    help: str


_LIMITS = (
    _Limit("--max-body-bytes", "max_body_bytes", positive, 8_000_000, "BYTES", "longest body of a request"),
    _Limit(
        "--max-buffered-bytes", "max_buffered_bytes", positive, 256_000_000, "BYTES",
        "most bytes of the bodies of all requests under way",
    ),
    _Limit("--max-texts", "max_texts", positive, 2048, "N", "most texts in a request"),
    _Limit("--max-text-tokens", "max_text_tokens", positive, None, "N", "most tokens of a text that are run"),
    _Limit("--max-queued-tokens", "max_queued_tokens", positive, 262_144, "N", "most tokens that wait or run at once"),
    _Limit("--max-requests", "max_requests", positive, 1024, "N", "most requests under way at once"),
    _Limit("--max-wait", "max_wait_s", seconds, 30.0, "SECONDS", "longest time that a request waits for its turn"),
    _Limit("--header-timeout", "header_timeout_s", seconds, 10.0, "SECONDS", "longest time for a request's headers"),
    _Limit("--body-timeout", "body_timeout_s", seconds, 30.0, "SECONDS", "longest time for a request's body"),
    _Limit(
        "--write-timeout",
        "write_timeout_s",
        seconds,
        30.0,
        "SECONDS",
        "how long a client may take for a tenth of its answer",
    ),
    _Limit("--keep-alive", "keep_alive_s", seconds, 75.0, "SECONDS", "how long an idle connection stays open"),
    _Limit("--grace", "grace_s", seconds, 30.0, "SECONDS", "how long requests under way may take after SIGTERM"),
)  # fmt: skip


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge serve``."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "bundles",
        metavar="BUNDLE",
        nargs="*",
        help="directories of bundles, or their names in the store: embedders and rerankers; default: $EMBEDGE_MODEL, "
        "else the only bundle under ./models, else the only one in the store",
    )
    models.add_argument("--model", action="append", default=[], metavar="BUNDLE", help="the same; repeat it for more")
    models.add_argument(
        "--variant", default="auto", metavar="NAME", help="int8, fp32 or fp16; default: auto, the best for the provider"
    )
    add_provider(models)
    models.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads for each model; default: one for each CPU that this process may use",
    )
    add_low_memory(models)
    where = parser.add_argument_group("address")
    where.add_argument("--host", default="127.0.0.1", help="address or name to listen on; 0.0.0.0 or :: for all")
    at = where.add_mutually_exclusive_group()
    at.add_argument("--port", type=port_number, default=8080, metavar="N", help="0 for one that is free; default: 8080")
    at.add_argument("--uds", type=Path, metavar="PATH", help="listen on a Unix socket instead")
    access = parser.add_argument_group("access")
    access.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="keys of clients, one on each line, read again at SIGHUP; more in $EMBEDGE_API_KEYS, with commas between",
    )
    access.add_argument("--open-metrics", action="store_true", help="need no key for metrics and the page's status")
    access.add_argument("--no-page", dest="page", action="store_false", help="serve no page and no reference")
    access.add_argument(
        "--cors-origin",
        dest="cors_origins",
        action="append",
        default=[],
        type=_origin,
        metavar="ORIGIN",
        help="let pages of ORIGIN, such as https://app.example, ask this server; repeat it for more; * for all; "
        "default: none",
    )
    limits = parser.add_argument_group("limits")
    for limit in _LIMITS:
        default = f"{limit.default:g}" if isinstance(limit.default, float) else limit.default
        limits.add_argument(
            limit.flag,
            dest=limit.field,
            type=limit.kind,
            default=limit.default,
            metavar=limit.metavar,
            help=f"{limit.help}; default: {default or 'the limit of the model'}",
        )
    logs = parser.add_argument_group("logs")
    logs.add_argument(
        "--log-format", choices=("console", "json"), default="console", help="form of the lines on standard error"
    )


def run(options: argparse.Namespace) -> int:
    """Run ``embedge serve``: what can fail without a model fails before one is loaded."""
    from embedge.server import logs, sockets
    from embedge.server.auth import Keys

    for package in _EXTRA:
        if not _is_installed(package):
            raise EmbedgeError(f'this command needs {package}: pip install "embedge[serve]"')
    logs.configure(options.log_format)
    keys = Keys.find(options.api_key_file, os.environ)
    asked = [*options.bundles, *options.model]
    paths = [find_bundle(name) for name in asked] or [find_bundle(None, "embed")]
    listeners = sockets.bind_unix(options.uds) if options.uds else sockets.bind(options.host, options.port)
    with contextlib.closing(listeners), contextlib.ExitStack() as stack:
        models = [stack.enter_context(_load(path, options)) for path in paths]
        # Not before: loading takes more memory at its peak than serving, and this is 18 MB of modules.
        from embedge.server import create_app, process

        process.serve(create_app(models, _settings(options), keys=keys), listeners, keys)
    return 0


def _is_installed(package: str) -> bool:
    import importlib.util  # not needed by other commands

    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # what stands in its place is no module
        return False


def _load(path: Path, options: argparse.Namespace) -> "LoadedModel":
    from embedge.bundle import Bundle
    from embedge.embedder import Embedder
    from embedge.reranker import Reranker

    kind = Reranker if Bundle.open(path).manifest.task == "rerank" else Embedder
    return load_as(kind, path, options)


def _settings(options: argparse.Namespace) -> "Settings":
    from embedge.server import Settings

    limits = {limit.field: getattr(options, limit.field) for limit in _LIMITS}
    return Settings(
        **limits, page=options.page, open_metrics=options.open_metrics, cors_origins=tuple(options.cors_origins)
    )
