"""What a bundle says of itself: the fields of ``manifest.json``, and reading and writing them strictly.

The manifest seals every other file with its size and sha256, and itself with the field ``seal``: the sha256 of its
own bytes with the 64 digits of the seal replaced by zeros.

The classes are named tuples because seven dataclasses take 5 ms to make, at every start.
"""

import json
import re
import types
import typing
from typing import Any, Literal, NamedTuple, TypeVar

from embedge.errors import BundleCorrupt, BundleError, UnsupportedFormat

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"

_SEAL = re.compile(rb'"seal": "([0-9a-f]{64})"')
_UNSEALED = b'"seal": "' + b"0" * 64 + b'"'
_T = TypeVar("_T")


class SealedFile(NamedTuple):
    """Size in bytes and hexadecimal sha256 of one file."""

    bytes: int
    sha256: str


class Source(NamedTuple):
    """The checkpoint that a bundle was made from; ``None`` where it is not known."""

    id: str
    revision: str | None
    weights_sha256: str | None
    license: str | None


class Prompts(NamedTuple):
    """Texts put in front of every query and of every document, often empty."""

    query: str
    document: str


class Fidelity(NamedTuple):
    """Cosine to the reference, over ``texts`` texts, measured when the bundle was written."""

    reference: str
    mean_cosine: float
    min_cosine: float
    texts: int


class Variant(NamedTuple):
    """One precision of the model: its two files, how it was made and how near it came to its reference."""

    graph: str
    weights: str
    recipe: str
    kernels: str
    fidelity: Fidelity
    batch_invariant: bool
    """Whether texts had the same bits, when it was written, in one list and each by itself, spread over all threads."""
    fingerprint: tuple[str, ...]
    """A vector for each of :attr:`Manifest.fingerprint_texts`: little-endian float32 in base64."""


class Manifest(NamedTuple):
    """Everything a bundle says of itself."""

    format_version: int
    created_by: str
    source: Source
    dimensions: int
    max_tokens: int
    pooling: Literal["cls", "mean"]
    prompts: Prompts
    files: dict[str, SealedFile]
    fingerprint_texts: tuple[str, ...]
    variants: dict[str, Variant]

    def to_fields(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        fields: dict[str, Any] = _plain(self)
        return fields

    def to_bytes(self) -> bytes:
        """The sealed ``manifest.json``."""
        fields = {**self.to_fields(), "seal": "0" * 64}
        unsealed = (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode()
        return unsealed.replace(_UNSEALED, b'"seal": "' + _digest(unsealed) + b'"')

    @classmethod
    def from_bytes(cls, raw: bytes, where: str, *, check_seal: bool = True) -> "Manifest":
        """Read a sealed ``manifest.json``; ``where`` names it in messages.

        Raises:
            UnsupportedFormat: another format version.
            BundleCorrupt: not JSON, or not the bytes that were sealed.
            BundleError: a field is missing or has the wrong type.
        """
        try:
            fields = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise BundleCorrupt(f"{where} is not JSON ({exc}); copy or export the bundle again") from exc
        version = fields.get("format_version") if isinstance(fields, dict) else None
        if version != FORMAT_VERSION:
            raise UnsupportedFormat(
                f"{where} has format version {version!r}, this embedge reads version {FORMAT_VERSION}; "
                "export the checkpoint again or install the embedge that wrote it"
            )
        if check_seal and not _is_sealed(raw):
            raise BundleCorrupt(f"{where} was altered after it was sealed; copy or export the bundle again")
        return _decode(cls, fields, where)


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(field) for name, field in value.items()}
    return value


def looks_sealed(raw: bytes) -> bool:
    """Whether this is some bundle's manifest, perhaps of another format or altered, and not any other JSON."""
    return _SEAL.search(raw) is not None and b'"format_version"' in raw


def _is_sealed(raw: bytes) -> bool:
    seals = _SEAL.findall(raw)
    return len(seals) == 1 and _digest(_SEAL.sub(_UNSEALED, raw)) == seals[0]


def _digest(unsealed: bytes) -> bytes:
    import hashlib  # takes 3 ms, and a start with a verified bundle does without (see embedge.bundle)

    return hashlib.sha256(unsealed).hexdigest().encode()


def _decode(kind: type[_T], value: Any, where: str) -> _T:
    """``value``, parsed from JSON, as ``kind``: a class of this module, or one of the types that its fields use."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "_fields"):
        if isinstance(value, dict):
            hints = typing.get_type_hints(kind)
            missing = [name for name in hints if name not in value]
            if missing:
                raise BundleError(f"{where} lacks {', '.join(missing)}; export the checkpoint again")
            return kind(**{name: _decode(hint, value[name], f"{where}: {name}") for name, hint in hints.items()})
    elif origin is dict and isinstance(value, dict):
        return typing.cast(_T, {k: _decode(arguments[1], v, f"{where}: {k}") for k, v in value.items()})
    elif origin is tuple and isinstance(value, list):
        return typing.cast(_T, tuple(_decode(arguments[0], item, where) for item in value))
    elif (
        (origin is Literal and value in arguments)
        or (origin is types.UnionType and (value is None or isinstance(value, arguments[0])))
        or (origin is None and (type(value) is kind or (kind is float and type(value) is int)))
    ):
        return typing.cast(_T, value)
    raise BundleError(f"{where} has the wrong type ({type(value).__name__}); export the checkpoint again")
