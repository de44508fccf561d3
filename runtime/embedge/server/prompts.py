"""Which text is put in front of a request's texts."""

from embedge.embedder import Embedder
from embedge.server.dialect import Refused


def find_prompt(model: Embedder, asked: str | None, *, default: str | None, field: str) -> str:
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
