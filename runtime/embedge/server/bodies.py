"""Bodies in and out: JSON that is read strictly, within limits of size and time, and vectors as JSON."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from embedge.requests import Refused
from embedge.server.dialect import Dialect
from embedge.server.settings import Settings

_Body = TypeVar("_Body", bound=msgspec.Struct)

# As JSON writes characters beyond U+FFFF; msgspec's messages about a lone half mislead.
_WHOLE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


async def read_json(
    request: Request, kind: type[_Body], dialect: Dialect, settings: Settings, hold: Callable[[int], None]
) -> _Body:
    """The request's body as a ``kind``; unknown fields are ignored, as clients send some.

    ``hold`` is called with the size of each part that comes; it may refuse more.

    Raises:
        Refused: not the dialect's type of content, compressed, too long, too slow, or not the JSON that is expected.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in dialect.media_types:
        raise Refused("wrong_type", f"content-type is {media_type!r}: send application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("wrong_type", "the body is compressed: send it as it is")
    body = await _read(request, settings, hold)
    try:
        body.decode()
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as exc:
        raise Refused("invalid", f"the body is not UTF-8: byte {exc.start}") from exc
    except msgspec.ValidationError as exc:
        reason, _, place = str(exc).partition(" - at `$")
        field = place.rstrip("`").lstrip(".") or None
        raise Refused("invalid", f"{field}: {reason}" if field else reason, field=field) from exc
    except msgspec.DecodeError as exc:
        half = _HALF_PAIR.search(_WHOLE_PAIR.sub(b"", body))
        if half:
            reason = f"{half[0].decode()} is half of a surrogate pair, and no character: the body is not Unicode text"
            raise Refused("invalid", reason) from exc
        raise Refused("invalid", f"the body is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise Refused("invalid", "the body is nested too deeply") from exc


async def _read(request: Request, settings: Settings, hold: Callable[[int], None]) -> bytes:
    too_large = Refused("too_large", f"the body is longer than {settings.max_body_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
                hold(len(chunk))
    except TimeoutError as exc:
        raise Refused("timeout", f"the body did not come within {settings.body_timeout_s:g} s") from exc
    return bytes(body)


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``content`` as JSON; NumPy arrays become lists, float32 in the fewest digits that read back as the same bits."""
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def refusal(refused: Refused, dialect: Dialect) -> Response:
    """The answer of a ``dialect`` to a request that was refused."""
    headers: dict[str, Any] = {}
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(refused.retry_after_s)
    if refused.kind == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    if refused.kind == "timeout":
        headers["connection"] = "close"  # what is left of the body may never come
    return json_response(dialect.body(refused), status=dialect.statuses[refused.kind], headers=headers)


def if_changed(request: Request, response: Response) -> Response:
    """``response``, or 304 in its place where the client has it already, by its ``etag``."""
    etag = response.headers.get("etag")
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if etag is None or etag not in known:
        return response
    kept = {name: response.headers[name] for name in ("etag", "cache-control") if name in response.headers}
    return Response(status_code=304, headers=kept)
