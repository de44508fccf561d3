"""The part of a bundle that is deployed: one variant."""

from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import PackError
from embedge.manifest import MANIFEST


def copy_variant(bundle: Bundle, variant: str, directory: Path) -> None:
    """Make a bundle at ``directory`` with one variant of ``bundle``, and hash its files.

    All files but the manifest have the same bytes. The manifest has them too, where there is no other variant.

    Raises:
        PackError: there is no such variant.
        BundleError: a file can't be read, or is not the one that was sealed (``BundleCorrupt``).
    """
    manifest = bundle.manifest
    if variant not in manifest.variants:
        raise PackError(
            f"{bundle.path} has no variant {variant}, only {', '.join(manifest.variants)}: export the checkpoint "
            f"again, with --precision {variant}"
        )
    kept = manifest.variants[variant]
    others = {name for other in manifest.variants.values() for name in other.files} - set(kept.files)
    names = [name for name in manifest.files if name not in others]
    directory.mkdir()
    if len(manifest.variants) == 1:
        sealed = bundle.file(MANIFEST).read_bytes()
    else:
        measured = manifest.measured._replace(variants={variant: manifest.measured.variants[variant]})
        files = {name: manifest.files[name] for name in names}
        sealed = manifest._replace(files=files, variants={variant: kept}, measured=measured).to_bytes()
    (directory / MANIFEST).write_bytes(sealed)
    for name in names:
        (directory / name).write_bytes(bundle.file(name).read_bytes())
    Bundle.open(directory).verify()
