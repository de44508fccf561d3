"""``embedge serve``: embeddings and reranking over HTTP, as OpenAI's, TEI's, Cohere's and Ollama's clients expect them.

:func:`create_app` makes an ASGI application of loaded models and :class:`Settings`; :mod:`.process` runs it. What
comes in by one dialect's route (:mod:`.openai`, :mod:`.tei`, :mod:`.cohere`, :mod:`.ollama`) goes through one
:class:`.service.Service` and one :class:`.queue.Queue` for all.
"""

from typing import TYPE_CHECKING

from embedge.server.settings import Settings

if TYPE_CHECKING:
    from embedge.server.app import create_app

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> object:
    """The application comes with all of its packages, when it is first asked for."""
    if name != "create_app":
        raise AttributeError(f"module 'embedge.server' has no attribute {name!r}")
    from embedge.server.app import create_app

    return create_app
