"""How each dialect is answered, and its routes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec
from starlette.responses import Response

from embedge.requests import Kind, Refused

if TYPE_CHECKING:
    from embedge.server.service import Service


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
