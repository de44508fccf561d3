"""What a request can be refused for, and how each dialect says it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from embedge.server.service import Service

Kind = Literal[
    "invalid",  # the request says something that can't be done
    "empty",  # no text at all
    "too_long",  # a text that is not to be cut
    "too_large",  # a limit of the server's that will not change by waiting
    "overloaded",  # a limit that will
    "timeout",  # the body did not come in time
    "unauthorized",
    "unknown_model",
    "unknown_route",
    "wrong_method",
    "wrong_type",  # of the body: not JSON, or compressed
    "failed",  # our own fault
]


class Refused(Exception):
    """A request that gets an error as its answer; the route's dialect decides how that looks."""

    def __init__(self, kind: Kind, message: str, *, field: str | None = None, retry_after_s: int | None = None) -> None:
        """``field`` is the one of the body that is to blame; ``retry_after_s`` when to come again."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s


class Dialect(NamedTuple):
    """How one family of clients is answered."""

    statuses: Mapping[Kind, int]
    body: Callable[[Refused], Mapping[str, Any]]
    """The body of an error, to be written as JSON."""
    error: type
    """What that is: a typed dictionary, for the reference."""
    media_types: tuple[str, ...] = ("application/json",)
    """What a request may call its body. Pages of other origins can't send JSON under this name without asking."""


Answer: TypeAlias = "Callable[[Service, Any], Awaitable[Response]]"


class Endpoint(NamedTuple):
    """One route: a method and path, what its body is, and who answers it."""

    method: Literal["GET", "POST"]
    path: str
    body: type[msgspec.Struct] | None
    """What the JSON of a POST is read into; ``None`` for a GET."""
    answer: Answer
    """Called with the service and the body."""
    dialect: Dialect
    summary: str
    """A line for the reference."""
    result: Any = None
    """What the JSON of its answer is: a type that msgspec knows; ``None`` where the answer is no JSON."""
    example: Mapping[str, Any] | None = None
    """A body, for the reference."""
    open: bool = False
    """Whether it needs no key."""
    open_with_metrics: bool = False
    """Whether it needs no key where :attr:`Settings.open_metrics` is set."""


STATUSES: Mapping[Kind, int] = {
    "invalid": 400,
    "empty": 400,
    "too_long": 400,
    "too_large": 413,
    "overloaded": 429,
    "timeout": 408,
    "unauthorized": 401,
    "unknown_model": 404,
    "unknown_route": 404,
    "wrong_method": 405,
    "wrong_type": 415,
    "failed": 500,
}
"""The statuses of most dialects."""
