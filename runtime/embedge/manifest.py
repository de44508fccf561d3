"""What a bundle says of itself: the fields of ``manifest.json``, and reading and writing them strictly.

The manifest seals every other file with its size and sha256, and itself with the field ``seal``: the sha256 of its
own bytes with the 64 digits of the seal replaced by zeros.

The classes are named tuples because as many dataclasses take 5 ms to make, at every start.
"""

import functools
import json
import re
import types
import typing
from typing import Any, Literal, NamedTuple, TypeVar

from embedge.errors import BundleCorrupt, BundleError, UnsupportedFormat

FORMAT_VERSION = 3
OLDEST_VERSION = 3
"""Bundles of this format version and of all later ones are read; those before were never released."""
ANY_DEVICE = "any"
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"

_SEAL = re.compile(rb'"seal": "([0-9a-f]{64})"')
_UNSEALED = b'"seal": "' + b"0" * 64 + b'"'
# Fields of the manifest that bundles of this format may lack; they are left out where they say nothing.
_OPTIONAL = ("squashed",)
# What no size, offset or id exceeds, so that arithmetic with them can't overflow.
_LARGEST = 2**53
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


class TokenizerFacts(NamedTuple):
    """What is done to the tokens of a text beside ``tokenizer.json``."""

    before: tuple[int, ...]
    """Ids of the special tokens in front of every text."""
    after: tuple[int, ...]
    """Ids of the special tokens behind it."""
    truncation_side: Literal["right", "left"]
    """Which end of a text that is too long is cut off."""
    between: tuple[int, ...] = ()
    """Ids of the special tokens between the two texts of a pair; none where the model takes single texts."""
    second: int = 0
    """What is added to the ids of a pair's second text, by which the model tells the two apart; 0 where it does not."""


class Tensor(NamedTuple):
    """A matrix in a weights file: its first byte, and its shape ``(in, out)``."""

    offset: int
    shape: tuple[int, ...]


class Graph(NamedTuple):
    """One of the ways in which a variant can be computed.

    Those of ONNX Runtime's operators give the same bits on one CPU. That for ``embedge-kernels`` gives the same bits on
    every CPU, and vectors with a mean cosine of 0.9997 to the others': all are as near to fp32's.
    """

    file: str
    execution: str
    """How the engine has to run it: ``"ragged"``, texts of equal length together; ``"packed"``, any, end to end; or
    ``"padded"``, any in a batch."""
    needs: tuple[str, ...]
    """Fields of :class:`embedge.engine.capabilities.Capabilities` that must hold."""
    unsigned: bool
    """Whether it takes :attr:`Variant.codes` as unsigned numbers, plus 128, instead of as they lie in the file."""


class Variant(NamedTuple):
    """One precision of the model: what its numbers are, where they lie and what can run them."""

    graphs: tuple[Graph, ...]
    """The fastest first."""
    weights: str
    codes: dict[str, Tensor]
    """The int8 matrices of ``weights``, by their names in the graphs; none where the matrices are float."""
    devices: tuple[str, ...]
    """``"cpu"``, ``"cuda"`` or ``"any"``: first the one it is written for, then others that run it by name only."""
    recipe: str

    @property
    def files(self) -> list[str]:
        """The names of its files."""
        return [*(graph.file for graph in self.graphs), self.weights]

    def __repr__(self) -> str:
        return f"Variant({self.weights!r}, devices={self.devices}, codes={len(self.codes)}, recipe={self.recipe!r})"


class Fidelity(NamedTuple):
    """Cosine to the reference, over ``texts`` texts."""

    reference: str
    mean_cosine: float
    min_cosine: float
    texts: int


class Measured(NamedTuple):
    """What was found of a variant by running it when it was written."""

    fidelity: Fidelity
    batch_invariant: bool
    """Whether texts had the same bits in one list and each by itself, spread over all threads."""
    fingerprint: tuple[str, ...]
    """A vector for each of :attr:`Measurements.texts`: little-endian float32 in base64."""

    def __repr__(self) -> str:
        return f"Measured({self.fidelity}, batch_invariant={self.batch_invariant})"


class Measurements(NamedTuple):
    """What depends on the machine that wrote the bundle, if only in the last digits."""

    machine: str
    texts: tuple[str, ...]
    """Those that the fingerprints are of."""
    variants: dict[str, Measured]


class Manifest(NamedTuple):
    """Everything a bundle says of itself. All but ``measured`` is the same whichever machine writes it."""

    format_version: int
    created_by: str
    source: Source
    task: Literal["embed", "rerank"]
    dimensions: int
    max_tokens: int
    pooling: str
    normalized: bool
    """Whether vectors have length 1."""
    similarity: Literal["cosine", "dot", "euclidean", "manhattan"]
    """How vectors are to be compared."""
    int8_range: float
    """The magnitude of a component that ``dtype="int8"`` makes 127 of."""
    prompts: dict[str, str]
    """Texts to be put in front of others, by their names."""
    default_prompt: str | None
    """The name of the one for texts of a kind that has no prompt of its own."""
    tokenizer: TokenizerFacts
    files: dict[str, SealedFile]
    variants: dict[str, Variant]
    """The order is that of ``variant="auto"``."""
    measured: Measurements
    squashed: bool | None = None
    """Whether a reranker's scores have gone through a sigmoid; ``None`` for embedders."""

    def __repr__(self) -> str:
        return (
            f"Manifest({self.source.id!r}, variants={list(self.variants)}, dimensions={self.dimensions}, "
            f"max_tokens={self.max_tokens})"
        )

    def prompt(self, name: str) -> str:
        """The prompt ``name``, else the default one, else none: an empty text."""
        return self.prompts.get(name, self.prompts.get(self.default_prompt or "", ""))

    def identity(self) -> str:
        """Hexadecimal sha256 of all but ``measured``: the same for the same checkpoint, options and versions."""
        import hashlib

        fields = {name: value for name, value in self.to_fields().items() if name != "measured"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def to_fields(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        fields: dict[str, Any] = _plain(self)
        return {name: value for name, value in fields.items() if value is not None or name not in _OPTIONAL}

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
        if type(version) is not int or not OLDEST_VERSION <= version <= FORMAT_VERSION:
            newer = type(version) is int and version > FORMAT_VERSION
            advice = "install a newer embedge" if newer else "export the checkpoint again"
            raise UnsupportedFormat(
                f"{where} has format version {version!r}, this embedge reads {OLDEST_VERSION} to {FORMAT_VERSION}; "
                f"{advice}"
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
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
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


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: type[_T], value: Any, where: str) -> _T:
    """``value``, parsed from JSON, as ``kind``: a class of this module, or one of the types that its fields use."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "_fields"):
        if isinstance(value, dict):
            hints = _hints(typing.cast(type, kind))
            hints = {name: hint for name, hint in hints.items() if name in value or name not in _OPTIONAL}
            missing = [name for name in hints if name not in value]
            if missing:
                raise BundleError(f"{where} lacks {', '.join(missing)}; export the checkpoint again")
            return kind(**{name: _decode(hint, value[name], f"{where}: {name}") for name, hint in hints.items()})
    elif origin is dict and isinstance(value, dict):
        _decode(tuple[str, ...], list(value), where)
        return typing.cast(_T, {k: _decode(arguments[1], v, f"{where}: {k}") for k, v in value.items()})
    elif origin is tuple and isinstance(value, list):
        return typing.cast(_T, tuple(_decode(arguments[0], item, where) for item in value))
    elif origin is types.UnionType:
        return typing.cast(_T, value if value is None else _decode(arguments[0], value, where))
    elif (origin is Literal and value in arguments) or (
        origin is None and (type(value) is kind or (kind is float and type(value) is int))
    ):
        if isinstance(value, str) and not _is_text(value):
            raise BundleError(f"{where} has half of a surrogate pair ({value!a}); export the checkpoint again")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise BundleError(f"{where} is a number out of range; export the checkpoint again")
        return typing.cast(_T, value)
    raise BundleError(f"{where} has the wrong type ({type(value).__name__}); export the checkpoint again")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
