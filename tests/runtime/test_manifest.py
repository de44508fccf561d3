"""Manifests: what is not one, or describes what can not be, is refused on opening."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleError, Embedder, UnsupportedFormat
from embedge.manifest import Manifest
from tests.damage import reseal


def test_another_format_version_is_named(copy: Path) -> None:
    for version in (0, 1, 2, 999, "3", None, [3], True, 3.0):
        reseal(copy, partial(dict.update, format_version=version))
        with pytest.raises(UnsupportedFormat, match=r"manifest\.json has format version"):
            Embedder.load(copy)


def test_another_format_version_is_told_before_anything_else(copy: Path) -> None:
    """A later version may seal or name its files in another way."""
    (copy / "manifest.json").write_text('{"format_version": 4, "pooling": 3}')
    (copy / "tokenizer.json").unlink()
    with pytest.raises(
        UnsupportedFormat, match=r"format version 4, this embedge reads 3 to 3; install a newer embedge"
    ):
        Bundle.open(copy)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 100,
        b"not JSON",
        b'{"format_version": 3',
        b"\xff\xfe\xfa",
        b'"' + b"\xff" * 10 + b'"',
        b"[]",
        b"null",
        b"1",
        b'"format_version"',
        b'["format_version"]',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"format_version": 3}',
        b'{"format_version": ' + b"1" * 10_000 + b"}",
        b'{"format_version": 1e999}',
        b'{"format_version": NaN}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_manifest_is_named(copy: Path, raw: bytes) -> None:
    (copy / "manifest.json").write_bytes(raw)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(copy)


@pytest.mark.parametrize("field", [field for field in Manifest._fields if field not in ("format_version", "squashed")])
def test_a_missing_field_of_the_manifest_is_named(copy: Path, field: str) -> None:
    reseal(copy, lambda fields: fields.pop(field))
    with pytest.raises(BundleError, match=rf"manifest\.json lacks {field}"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    "keys",
    [
        "source license",
        "tokenizer before",
        "variants int8 weights",
        "measured machine",
        "measured variants int8 fidelity texts",
        "files tokenizer.json sha256",
    ],
)
def test_a_missing_field_deeper_in_the_manifest_is_named(copy: Path, keys: str) -> None:
    *parents, last = keys.split()

    def change(fields: dict[str, Any]) -> None:
        for key in parents:
            fields = fields[key]
        del fields[last]

    reseal(copy, change)
    with pytest.raises(BundleError, match=f"{parents[-1]} lacks {last}"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("format_version", True),
        ("format_version", 1.0),
        ("created_by", 1),
        ("source", "BAAI/bge-small-en"),
        ("source id", None),
        ("source revision", 3),
        ("dimensions", "16"),
        ("dimensions", 16.0),
        ("max_tokens", None),
        ("pooling", ["cls"]),
        ("task", "translate"),
        ("normalized", 1),
        ("similarity", "hamming"),
        ("int8_range", "1"),
        ("default_prompt", 1),
        ("squashed", 1),
        ("tokenizer truncation_side", "middle"),
        ("tokenizer before", [None]),
        ("prompts", []),
        ("prompts query", None),
        ("files", []),
        ("files", {}),
        ("files tokenizer.json", 5),
        ("files tokenizer.json bytes", "5"),
        ("files tokenizer.json sha256", 5),
        ("measured", None),
        ("measured texts", "text"),
        ("measured texts", [1]),
        ("variants", []),
        ("variants", {}),
        ("variants int8", None),
        ("variants int8 graphs", 1),
        ("variants int8 graphs", []),
        ("variants int8 graphs", ["model.int8.onnx"]),
        ("variants int8 devices", []),
        ("variants int8 codes", {"layer0/qkv/codes": {"offset": -1, "shape": [16, 48]}}),
        ("variants int8 codes", {"layer0/qkv/codes": {"offset": 0, "shape": [0, 48]}}),
        ("variants int8 codes", {"layer0/qkv/codes": {"offset": 0, "shape": []}}),
        ("variants int8 codes", {"layer0/qkv/codes": {"offset": 0, "shape": [10**6, 10**6]}}),
        ("measured variants", {}),
        ("variants int8 codes", {}),
        ("measured variants int8 fidelity", 0.99),
        ("measured variants int8 fidelity mean_cosine", "1"),
        ("measured variants int8 fingerprint", [["1"]]),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_on_opening(copy: Path, keys: str, value: object) -> None:
    *parents, last = keys.split()

    def change(fields: dict[str, Any]) -> None:
        for key in parents:
            fields = fields[key]
        assert last in fields or last == "squashed"
        fields[last] = value

    reseal(copy, change)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("field", "value"), [("dimensions", 0), ("dimensions", -1), ("max_tokens", 0), ("max_tokens", 2), ("int8_range", 0)]
)
def test_a_size_that_can_not_be_is_refused_on_loading(copy: Path, field: str, value: int) -> None:
    reseal(copy, lambda fields: fields.update({field: value}))
    with pytest.raises(BundleError):
        Embedder.load(copy)


def test_a_field_that_is_not_known_is_left_alone(copy: Path) -> None:
    reseal(copy, lambda fields: fields.update(note="made on a Friday"))
    Bundle.open(copy).verify()


def test_an_unknown_variant_is_refused_with_those_there_are(tiny: Path) -> None:
    with pytest.raises(BundleError, match=r"no variant 'int4'.*int8, fp32"):
        Embedder.load(tiny, variant="int4")
