"""The events that Lambda hands over, and the answers that it takes.

An HTTP request comes in two forms: version 1 of API Gateway's REST APIs and of load balancers, version 2 of HTTP APIs
and of function URLs. Everything else is a direct invocation, whose event is what would be the body.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from embedge.requests import STATUSES, Refused, openai_error

ROUTE = "/v1/embeddings"


class HttpRequest(NamedTuple):
    """What the function reads of a request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names are in small letters."""
    body: object
    """A text, unless somebody made the event by hand."""
    is_base64: bool
    multi_value: bool
    """Whether each header has a list of values, also in the answer: a load balancer may be set so."""


def http_request(event: object) -> HttpRequest | None:
    """The request that an event is; ``None`` for a direct invocation."""
    if not isinstance(event, dict):
        return None
    http = _mapping(_mapping(event.get("requestContext")).get("http"))
    if event.get("version") == "2.0" and http:
        method, path = http.get("method"), event.get("rawPath")
    elif "httpMethod" in event:
        method, path = event["httpMethod"], event.get("path")
    else:
        return None
    headers, lists = _mapping(event.get("headers")), _mapping(event.get("multiValueHeaders"))
    multi_value = bool(lists and not headers)  # REST APIs have both
    if multi_value:
        headers = {name: values[-1] for name, values in lists.items() if isinstance(values, list) and values}
    return HttpRequest(
        _text(method),
        _text(path),
        {name.lower(): _text(value) for name, value in headers.items()},
        event.get("body") or "",
        bool(event.get("isBase64Encoded")),
        multi_value,
    )


def read_body(request: HttpRequest) -> object:
    """The JSON of a request for embeddings.

    Raises:
        Refused: another route or method, another type of content, or no JSON.
    """
    # A stage of API Gateway or a path of a custom domain may stand in front.
    if not f"/{request.path.strip('/')}".endswith(ROUTE):
        raise Refused("unknown_route", f"there is no {request.path!r} here: POST to {ROUTE}")
    if request.method != "POST":
        raise Refused("wrong_method", f"{ROUTE} takes POST, not {request.method}")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused("wrong_type", f"content-type is {media_type!r}: send application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("wrong_type", "the body is compressed: send it as it is")
    text = _text_of_body(request)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise Refused("invalid", "the body is nested too deeply") from exc
    except ValueError as exc:
        raise Refused("invalid", f"the body is not JSON: {exc}") from exc


def _text_of_body(request: HttpRequest) -> str:
    body = request.body
    if not isinstance(body, str):
        raise Refused("invalid", "the event's body is no text: put the JSON into a string")
    if not request.is_base64:
        return body
    try:
        return base64.b64decode(body.encode("ascii"), validate=True).decode()
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise Refused("invalid", "the event says that its body is base64, which it is not") from exc
    except UnicodeDecodeError as exc:
        raise Refused("invalid", f"the body is not UTF-8: byte {exc.start}") from exc


def _refuse_constant(name: str) -> object:
    """NaN and the infinities, which Python reads beyond JSON."""
    raise ValueError(f"{name} is no number of JSON")


def http_answer(
    request: HttpRequest, body: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What Lambda makes an HTTP response of, of either version."""
    named = {"content-type": "application/json", **(headers or {})}
    lists = {name: [value] for name, value in named.items()}
    return {
        "statusCode": status,
        **({"multiValueHeaders": lists} if request.multi_value else {"headers": named}),
        "body": body,
        "isBase64Encoded": False,
    }


def http_refusal(request: HttpRequest, refused: Refused) -> dict[str, Any]:
    """The response to a request that is refused."""
    headers = {"allow": "POST"} if refused.kind == "wrong_method" else {}
    return http_answer(request, json.dumps(openai_error(refused)), status=STATUSES[refused.kind], headers=headers)


def direct_refusal(refused: Refused) -> dict[str, Any]:
    """What an invocation that is refused returns: raised, it would be tried again where it is asynchronous."""
    return {"statusCode": STATUSES[refused.kind], **openai_error(refused)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
