"""What a request for embeddings asks for, read strictly from JSON, without the packages that the server has for it."""

import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from embedge.requests import Refused

_Format = Literal["float", "base64"]


class Asked(NamedTuple):
    """The fields of a request, as the server's ``POST /v1/embeddings`` takes them; others are ignored."""

    input: str | list[str | int | list[int]]
    model: str | None
    encoding_format: _Format
    dimensions: int | None
    prompt: str | None
    truncate: bool


def read_fields(body: object) -> Asked:
    """``body``, parsed from JSON, as the fields of a request.

    Raises:
        Refused: a field is missing or has the wrong type; it is named.
    """
    if not isinstance(body, dict):
        raise Refused("invalid", f"the request is {_name(body)}, not an object with the field 'input'")
    if "input" not in body:
        raise Refused("invalid", "the request has no field 'input': send a text or a list of texts", field="input")
    encoding_format: Any = _optional(body, "encoding_format", str)
    if encoding_format is None:
        encoding_format = "float"
    if encoding_format not in typing.get_args(_Format):
        raise Refused(
            "invalid", f"encoding_format {encoding_format!r} is not one of float, base64", field="encoding_format"
        )
    return Asked(
        _input(body["input"]),
        _optional(body, "model", str),
        encoding_format,
        _optional(body, "dimensions", int),
        _optional(body, "prompt", str),
        _truncate(body),
    )


def _input(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise Refused("invalid", f"input is {_name(value)}, not a text or a list of texts", field="input")
    for index, item in enumerate(value):
        ids = item if isinstance(item, list) else []
        if type(item) not in (str, int, list) or any(type(one) is not int for one in ids):
            what = "a list that holds something else than token ids" if ids else _name(item)
            raise Refused(
                "invalid", f"input[{index}] is {what}: send texts, or token ids as whole numbers", field="input"
            )
    return value


def _truncate(body: Mapping[str, Any]) -> bool:
    value = body.get("truncate", True)
    if not isinstance(value, bool):
        raise Refused("invalid", f"truncate is {_name(value)}, not true or false", field="truncate")
    return value


def _optional(body: Mapping[str, Any], field: str, kind: type) -> Any:
    value = body.get(field)
    if value is not None and type(value) is not kind:
        expected = "a text" if kind is str else "a whole number"
        raise Refused("invalid", f"{field} is {_name(value)}, not {expected}", field=field)
    return value


def _name(value: object) -> str:
    """What JSON calls it."""
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "an array", type(None): "null"}
    return names.get(type(value), "a number")
