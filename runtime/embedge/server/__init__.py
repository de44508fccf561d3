"""``embedge serve``: embeddings and reranking over HTTP, as OpenAI's, TEI's, Cohere's and Ollama's clients expect them.

:func:`create_app` makes an ASGI application of loaded models and :class:`Settings`; :mod:`.process` runs it. What
comes in by one dialect's route (:mod:`.openai`, :mod:`.tei`, :mod:`.cohere`, :mod:`.ollama`) goes through one
:class:`.service.Service` and one :class:`.queue.Queue` for all.
"""

from embedge.server.app import create_app
from embedge.server.settings import Settings

__all__ = ["Settings", "create_app"]
