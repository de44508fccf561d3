"""A checkpoint's JSON files."""

import json
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError

_POINTER = b"version https://git-lfs"


def read_json(path: Path, *, optional: bool = False) -> Any:
    """The JSON of ``path``; ``None`` where there is no such file and it is ``optional``."""
    try:
        check_fetched(path)
        return json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        if optional:
            return None
        raise CheckpointError(f"{path.parent} is no checkpoint: it has no {path.name}") from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} can't be read as JSON: {exc}") from exc


def check_fetched(path: Path) -> None:
    """Raise ``CheckpointError`` where ``path`` is what Git has in place of a large file, ``OSError`` without a file."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in "
                f"{path.parent}, or fetch it again"
            )


def read_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object of ``path``; empty where there is no such file and it is ``optional``."""
    value = read_json(path, optional=optional)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__} instead of an object; fetch it again")
    return value
