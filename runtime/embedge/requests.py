"""What a request for vectors asks for, whoever takes it: the server or a function. And what it can be refused for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from embedge.embedder import Embedder

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

_OPENAI_CODES: Mapping[Kind, tuple[str, str | None]] = {
    "overloaded": ("rate_limit_error", "rate_limit_exceeded"),
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "unknown_route": ("invalid_request_error", "unknown_url"),
    "failed": ("server_error", None),
}


class Refused(Exception):
    """A request that gets an error as its answer; the route's dialect decides how that looks."""

    def __init__(self, kind: Kind, message: str, *, field: str | None = None, retry_after_s: int | None = None) -> None:
        """``field`` is the one of the body that is to blame; ``retry_after_s`` when to come again."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s


def openai_error(refused: Refused) -> dict[str, dict[str, str | None]]:
    """The body of an error, as OpenAI's clients read it."""
    kind, code = _OPENAI_CODES.get(refused.kind, ("invalid_request_error", None))
    return {"error": {"message": refused.message, "type": kind, "param": refused.field, "code": code}}


def find_prompt(model: "Embedder", asked: str | None, *, default: str | None, field: str) -> str:
    """The model's prompt that is ``asked`` for by its name, else the one named ``default``, else none: an empty text.

    ``"query"`` and ``"document"`` are known for every model; ``"none"`` is none. ``field`` is what the dialect calls
    the name.

    Raises:
        Refused: the model has no prompt of the name.
    """
    name = default if asked is None else asked
    if name in (None, "none"):
        return ""
    if name in model.prompts or name in ("query", "document"):
        return model.manifest.prompt(name)
    known = ", ".join(sorted({*model.prompts, "query", "document", "none"}))
    raise Refused("invalid", f"{field} {name!r} is not one of {known}", field=field)


def split_input(value: str | Sequence[str | int | list[int]], field: str) -> tuple[list[str], list[list[int]]]:
    """The texts or the lists of token ids that a request has; one of the two is empty.

    Raises:
        Refused: both.
    """
    if isinstance(value, str):
        return [value], []
    if len({*map(type, value)}) > 1:
        raise Refused("invalid", f"{field} mixes texts and token ids: send either", field=field)
    # They are of one type by now; asking each again takes the event loop half a second where they are millions.
    items: list[Any] = list(value)
    if not items or isinstance(items[0], str):
        return items, []
    return [], items if isinstance(items[0], list) else [items]


def check_count(items: Sequence[object], most: int, field: str) -> None:
    """Raise `Refused` for no texts, and for more than ``most``."""
    if not items:
        raise Refused("empty", f"{field} is empty: send at least one text", field=field)
    if len(items) > most:
        raise Refused("too_large", f"{field} has {len(items)} texts, and one request may have {most}", field=field)
