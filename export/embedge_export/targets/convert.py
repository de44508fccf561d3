"""``convert()``: a bundle as one file, in the form that the file's name says."""

import contextlib
import os
from pathlib import Path

from embedge.atomic import replace_file
from embedge.bundle import Bundle
from embedge.errors import ExportError
from embedge_export.targets import ort_format, single_file

_FORMS = (".onnx", ".ort")


def convert(bundle: str | os.PathLike[str], out: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
    """Write ``bundle`` as one file that takes texts and gives vectors (see :mod:`embedge_export.targets.single_file`).

    Args:
        bundle: its directory, or its name in the store.
        out: a file that ends in ``.onnx``, or in ``.ort`` for ONNX Runtime's own format. Beside the latter,
            ``.required_operators.config`` in place of ``.ort``, lies the list of its operators for reduced builds.
        force: replace files that are there.

    Returns:
        The files that were written, each whole or not at all.

    Raises:
        BundleError: the bundle can't be opened, or has other bytes than it was sealed with.
        ExportError: a bundle that can't be one file, with the reason; or ``out`` ends otherwise, exists, lies in the
            bundle or can't be written.
    """
    out = Path(out)
    if out.suffix not in _FORMS:
        raise ExportError(f"{out} has to end in {' or '.join(_FORMS)}, which says what form it is written in")
    paths = [out, out.with_suffix(ort_format.OPERATORS)] if out.suffix == ".ort" else [out]
    for path in paths:
        _check_free(path, force=force)
    opened = Bundle.open(bundle)
    if out.parent.samefile(opened.path):
        raise ExportError(f"{out} lies in the bundle, which stays as it was sealed; give another OUT")
    model = single_file.author(opened)
    try:
        with contextlib.ExitStack() as stack:
            partial, *listed = [stack.enter_context(replace_file(path)) for path in paths]
            partial.touch()  # ONNX Runtime does not say why it can't
            if out.suffix == ".ort":
                ort_format.write(model, partial)
                listed[0].write_text(ort_format.required_operators(model), encoding="utf-8")
            else:
                partial.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as exc:
        raise ExportError(f"{out} can't be written: {exc.strerror or exc}") from exc
    return paths


def _check_free(path: Path, *, force: bool) -> None:
    if not path.parent.is_dir():
        raise ExportError(f"{path} can't be written: {path.parent} is no directory")
    if path.is_dir():
        raise ExportError(f"{path} is a directory; give the file to write")
    if os.path.lexists(path) and not force:
        raise ExportError(f"{path} exists; give another OUT or --force to replace it")
