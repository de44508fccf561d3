"""What is timed. Each module has, besides ``load``:

LABEL: what plots call it. ENVIRONMENT: whose packages it needs (``../requirements``). PACKAGES: whose versions to tell.
FILES: what it needs of a model's directory. PREPARED_BY: the steps of :mod:`benchmarks.speed.models` that make them.
THREAD_SAFE: whether several threads may call it at once.
"""

from collections.abc import Callable
from typing import Any

Embed = Callable[[list[str]], Any]
"""Texts to their vectors, of length 1. ``load(models, threads)`` returns one."""
