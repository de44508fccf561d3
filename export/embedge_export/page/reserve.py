"""The file that a report goes to: found to be writable before an export starts, then written whole or not at all."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from embedge.atomic import replace_file
from embedge.errors import ExportError


@contextlib.contextmanager
def reserve(path: Path, out: Path, *, force: bool) -> Iterator[Callable[[str], None]]:
    """Make a page whole or not at all: the body calls the function it is given with the page's HTML.

    It becomes ``path`` when the body ends (see :mod:`embedge.atomic`). With ``force`` a file at ``path`` is replaced.

    Raises:
        ExportError: no matplotlib; ``path`` exists (without ``force``), is a directory, lies in the bundle ``out`` or
            can't be written. All this is found before the body runs, except for what changes meanwhile.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ExportError("a report needs matplotlib: pip install 'embedge[report]'")
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay
    _check_free(path, out, force=force)
    with contextlib.ExitStack() as stack:
        with _errors_named(path):
            partial = stack.enter_context(replace_file(path))
            partial.touch(exist_ok=False)

        def write(text: str) -> None:
            with _errors_named(path):
                partial.write_text(text, encoding="utf-8")

        yield write
        _check_free(path, out, force=force)
        with _errors_named(path):
            stack.close()


def _check_free(path: Path, out: Path, *, force: bool) -> None:
    with _errors_named(path):
        inside = path.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(path.resolve())
        taken = path.exists() or path.is_symlink()
        is_file = path.is_file()
    if inside:
        raise ExportError(f"the report {path} and the bundle {out} would lie one in the other; give another file")
    if taken and not is_file:
        raise ExportError(f"the report {path} exists and is not a file; give another one")
    if taken and not force:
        raise ExportError(f"the report {path} exists; give another file or --force to replace it")


@contextlib.contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as exc:  # RuntimeError: a link that leads to itself
        raise ExportError(f"the report {path} can't be written: {getattr(exc, 'strerror', None) or exc}") from exc
