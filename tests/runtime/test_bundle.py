"""A damaged, hostile or half-written bundle is never used, and the error names the file."""

import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import embedge.bundle
from embedge import Bundle, BundleCorrupt, BundleError, Embedder, UnsupportedFormat
from embedge.manifest import Manifest
from embedge_export import export
from tests.cases import in_own_mounts, listing

FILES = [
    "manifest.json",
    "tokenizer.json",
    "model.int8.onnx",
    "model.int8.bin",
    "model.int8-unsigned.onnx",
    "model.fp32.onnx",
    "model.fp32.bin",
]
SEALED = FILES[1:]
OF_INT8 = FILES[1:5]


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit where it lies, and set the time of change back; a second call undoes it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def places(size: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """``(byte, bit)`` to flip: the first byte, the last one and ``count`` anywhere."""
    draw = random.Random(seed)
    anywhere = [(draw.randrange(size), draw.randrange(8)) for _ in range(count)]
    return [(0, draw.randrange(8)), (size - 1, draw.randrange(8)), *anywhere]


def reseal(directory: Path, change: Callable[[dict[str, Any]], None], *, hashes: bool = False) -> None:
    """Change the fields of the manifest and seal it again, so that only the change is wrong."""
    fields = json.loads((directory / "manifest.json").read_bytes())
    if hashes:
        for name, sealed in fields["files"].items():
            data = (directory / name).read_bytes()
            sealed.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    change(fields)
    (directory / "manifest.json").write_bytes(sealed_bytes(fields))


def sealed_bytes(fields: dict[str, Any]) -> bytes:
    zeros = "0" * 64
    raw = json.dumps({**fields, "seal": zeros}, indent=1).encode()
    return raw.replace(f'"seal": "{zeros}"'.encode(), f'"seal": "{hashlib.sha256(raw).hexdigest()}"'.encode())


def assert_same_vectors(one: Path, other: Path) -> None:
    with Embedder.load(one) as a, Embedder.load(other) as b:
        assert np.array_equal(a.embed(["a boat", ""]), b.embed(["a boat", ""]))


# Opening


def test_a_bundle_opens_and_verifies_without_reading_weights(tiny: Path) -> None:
    bundle = Bundle.open(tiny)
    bundle.verify()
    assert set(bundle.manifest.files) >= set(SEALED)
    assert set(bundle.manifest.variants) == {"int8", "fp32"}
    assert bundle.manifest.prompts["query"] == "old: "


def test_a_bundle_holds_the_sealed_files_and_nothing_else(tiny: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert [name for name in listing(tiny) if name != ".verified"] == sorted(FILES)  # which a load leaves
    export(tiny_checkpoint, tmp_path / "int8")
    assert listing(tmp_path / "int8") == sorted(FILES[:5])


def test_a_bundle_opens_through_a_link_and_as_a_str(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny)
    Bundle.open(str(tmp_path / "link")).verify()


def test_a_resealed_copy_opens(copy: Path) -> None:
    """Otherwise the tests below, which reseal after a change, would fail for the wrong reason."""
    reseal(copy, lambda fields: None, hashes=True)
    Bundle.open(copy).verify()
    Embedder.load(copy).close()


def test_the_manifest_survives_writing_and_reading(tiny: Path) -> None:
    manifest = Bundle.open(tiny).manifest
    assert manifest.to_bytes() == (tiny / "manifest.json").read_bytes()
    assert Manifest.from_bytes(manifest.to_bytes(), "it") == manifest


@pytest.mark.parametrize(
    "prompt", ["", "query: ", 'say "seal": "' + "0" * 64 + '" ', "see [ 1 ] and [ 2,  3.5 ]: ", "line\nünd \u2028 \0 "]
)
def test_every_prompt_comes_back_from_the_bundle_as_it_was_given(
    tiny_checkpoint: Path, tmp_path: Path, prompt: str
) -> None:
    export(tiny_checkpoint, tmp_path / "out", query_prompt=prompt, document_prompt=prompt[::-1])
    assert Bundle.open(tmp_path / "out").manifest.prompts == {"query": prompt, "document": prompt[::-1]}


@pytest.mark.parametrize("name", ["missing", "file", "empty", "missing/deeper", "n" * 300, "nul\0"])
def test_a_path_without_a_bundle_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "empty").mkdir()
    for call in (Bundle.open, Embedder.load):
        with pytest.raises(BundleError) as info:
            call(tmp_path / name)
        assert name in str(info.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.open(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_place_of_a_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(BundleError, match=name):
        Bundle.open(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_longer_file_is_named_on_opening(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for other in (data[:-1], data[: len(data) // 2], data[:1], b"", data + b"\0", data + b"\n"):
        (copy / name).write_bytes(other)
        with pytest.raises(BundleCorrupt, match=name):
            Bundle.open(copy)


# Flipped bits


@pytest.mark.parametrize("name", SEALED)
def test_verify_names_a_file_with_one_flipped_bit(copy: Path, name: str) -> None:
    bundle = Bundle.open(copy)
    for place, bit in places((copy / name).stat().st_size, 60):
        flip(copy / name, place, bit)
        with pytest.raises(BundleCorrupt, match=name):
            bundle.verify()
        flip(copy / name, place, bit)
    bundle.verify()


@pytest.mark.parametrize("name", SEALED)
def test_load_names_a_file_with_one_flipped_bit(copy: Path, name: str) -> None:
    variant = "fp32" if "fp32" in name else "int8"
    for place, bit in places((copy / name).stat().st_size, 40, seed=1):
        flip(copy / name, place, bit)
        with pytest.raises(BundleCorrupt, match=name):
            Embedder.load(copy, variant=variant)
        flip(copy / name, place, bit)
    Embedder.load(copy, variant=variant).close()


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_in_the_trained_bundle_is_found(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy", copy_function=os.link)
    (copy / name).unlink()
    shutil.copy(bundle / name, copy / name)
    for place, bit in places((copy / name).stat().st_size, 1, seed=2):
        flip(copy / name, place, bit)
        with pytest.raises(BundleError, match=name):
            Bundle.open(copy).verify()
        flip(copy / name, place, bit)
    Bundle.open(copy).verify()


def test_a_flipped_bit_at_any_byte_of_the_manifest_is_found(tiny: Path) -> None:
    raw = (tiny / "manifest.json").read_bytes()
    draw = random.Random(3)
    for place in range(len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << draw.randrange(8)
        with pytest.raises(BundleError, match="where it lies"):
            Manifest.from_bytes(bytes(flipped), "where it lies")


def test_a_flipped_bit_in_the_manifest_keeps_load_and_open_from_using_it(copy: Path) -> None:
    manifest = copy / "manifest.json"
    for place, bit in places(manifest.stat().st_size, 40, seed=4):
        flip(manifest, place, bit)
        for call in (Bundle.open, Embedder.load):
            with pytest.raises(BundleError, match=r"manifest\.json"):
                call(copy)
        flip(manifest, place, bit)


def test_two_files_that_changed_places_are_found(copy: Path) -> None:
    first, second = (copy / "model.int8.bin").read_bytes()[:64], (copy / "model.int8.bin").read_bytes()[64:]
    (copy / "model.int8.bin").write_bytes(second + first)
    with pytest.raises(BundleCorrupt, match=r"model\.int8\.bin"):
        Embedder.load(copy)


# Stamps: what a load remembers


def hashed_by(monkeypatch: pytest.MonkeyPatch, load: Callable[[], object]) -> set[str]:
    names = []
    original = embedge.bundle.hash_file

    def count(path: Path) -> str:
        names.append(path.name)
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(embedge.bundle, "hash_file", count)
        load()
    return set(names)


def load_and_close(path: Path, variant: str = "int8") -> None:
    Embedder.load(path, variant=variant).close()


@pytest.fixture(scope="module")
def old(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the bundle that are old enough for their time stamps to be trusted."""
    directory = tmp_path_factory.mktemp("old")
    for name in ("stamped", "hashed", "resealed", "read-only"):
        shutil.copytree(tiny, directory / name, ignore=shutil.ignore_patterns(".verified"))
    time.sleep(2.2)
    return directory


@pytest.fixture(scope="module")
def stamped(old: Path) -> Path:
    """A bundle that was loaded before; ``saved`` beside it holds its stamps."""
    for variant in ("int8", "fp32"):
        load_and_close(old / "stamped", variant)
    shutil.copy(old / "stamped" / ".verified", old / "saved")
    return old / "stamped"


@pytest.mark.parametrize("name", SEALED)
def test_a_flipped_bit_after_a_load_that_was_fine_is_found(stamped: Path, name: str) -> None:
    """Its time of change is set back, as a careless tool or a careful attacker would."""
    variant = "fp32" if "fp32" in name else "int8"
    for place, bit in places((stamped / name).stat().st_size, 30, seed=5):
        flip(stamped / name, place, bit)
        with pytest.raises(BundleCorrupt, match=name):
            Embedder.load(stamped, variant=variant)
        flip(stamped / name, place, bit)
    load_and_close(stamped, variant)


def test_files_are_hashed_once_and_again_when_replaced(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, other = old / "hashed", tmp_path / "other.bin"
    other.write_bytes(bytes((copy / "model.int8.bin").stat().st_size))
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(OF_INT8)
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set()
    assert hashed_by(monkeypatch, lambda: load_and_close(copy, "fp32")) == {"model.fp32.onnx", "model.fp32.bin"}
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set()

    times = (copy / "model.int8.bin").stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(copy / "model.int8.bin")
    with pytest.raises(BundleCorrupt, match=r"model\.int8\.bin"):
        Embedder.load(copy)


def test_a_file_changed_just_now_is_not_remembered(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could change again within the same tick of the file system's clock, and keep its time stamp."""
    load_and_close(copy)
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(OF_INT8)


def test_a_copied_bundle_is_hashed_anew(stamped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(stamped, tmp_path / "copy"))
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(OF_INT8)


def test_verify_hashes_whatever_was_remembered(stamped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hashed_by(monkeypatch, lambda: Bundle.open(stamped).verify()) >= set(SEALED)


def test_stamps_of_another_manifest_are_not_trusted(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = old / "resealed"
    load_and_close(copy)
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set()
    reseal(copy, lambda fields: fields["files"]["tokenizer.json"].update(sha256="0" * 64))
    with pytest.raises(BundleCorrupt, match=r"tokenizer\.json"):
        Embedder.load(copy)


def test_flipped_bits_in_the_stamps_do_no_harm(stamped: Path) -> None:
    stamps, saved = stamped / ".verified", (stamped.parent / "saved").read_bytes()
    bundle = Bundle.open(stamped)
    for place, bit in places(len(saved), 80, seed=6):
        stamps.write_bytes(saved)
        flip(stamps, place, bit)
        bundle.ensure_sealed("int8")
    stamps.write_bytes(saved)
    flip(stamps, len(saved) // 2, 7)
    load_and_close(stamped)


@pytest.mark.parametrize("name", OF_INT8)
def test_flipped_bits_in_the_stamps_hide_no_damage(stamped: Path, name: str) -> None:
    stamps, saved = stamped / ".verified", (stamped.parent / "saved").read_bytes()
    bundle = Bundle.open(stamped)
    flip(stamped / name, 100, 3)
    for place, bit in places(len(saved), 40, seed=7):
        stamps.write_bytes(saved)
        flip(stamps, place, bit)
        with pytest.raises(BundleCorrupt, match=name):
            bundle.ensure_sealed("int8")
    flip(stamped / name, 100, 3)


@pytest.mark.parametrize(
    "stamps", [b"", b"[]", b"3", b'{"manifest": 1}', b"\xff\xfe\0", b"[" * 100_000, b'{"files": {"tokenizer.json": 1}}']
)
def test_stamps_that_are_no_stamps_do_no_harm(copy: Path, stamps: bytes) -> None:
    (copy / ".verified").write_bytes(stamps)
    load_and_close(copy)


@pytest.mark.parametrize("files", [[], None, 1, {"tokenizer.json": None}, {"model.int8.bin": [1, 2, 3, 4]}])
def test_stamps_of_the_wrong_form_do_no_harm(copy: Path, files: object) -> None:
    status = (copy / "manifest.json").stat()
    manifest = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    (copy / ".verified").write_text(json.dumps({"manifest": manifest, "files": files}))
    load_and_close(copy)


def test_a_directory_in_place_of_the_stamps_does_no_harm(copy: Path) -> None:
    (copy / ".verified").mkdir()
    load_and_close(copy)


def test_a_bundle_on_a_read_only_file_system_loads(old: Path) -> None:
    copy = old / "read-only"
    code = (
        "import sys; from embedge import Embedder\n"
        "for _ in range(2): print(Embedder.load(sys.argv[1]).embed(['a boat']).shape)"
    )
    done = in_own_mounts(
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"',
        '! touch "$1/x" 2>/dev/null && exec "$2" -c "$3" "$1"',
        [copy, sys.executable, code],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 16)\n(1, 16)\n"
    assert not (copy / ".verified").exists()
    load_and_close(copy)
    assert (copy / ".verified").exists()  # so it was the file system that kept them from being written


# Manifests


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


@pytest.mark.parametrize("field", [field for field in Manifest._fields if field != "format_version"])
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
        assert last in fields
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


# Names that lead out of the bundle


def rename_everywhere(fields: dict[str, Any], old: str, new: str) -> None:
    fields["files"][new] = fields["files"].pop(old)
    for variant in fields["variants"].values():
        for part in [variant, *variant["graphs"]]:
            part.update({field: new for field, value in part.items() if value == old})


@pytest.mark.parametrize("old", ["model.int8.bin", "model.int8.onnx", "tokenizer.json"])
@pytest.mark.parametrize("new", ["{outside}/{old}", "../{old}", "sub/{old}", "./{old}", "..", ".", "", "..\\{old}"])
def test_a_name_that_leaves_the_bundle_is_refused(copy: Path, old: str, new: str) -> None:
    """The file is there, with the sealed bytes: only its place is wrong."""
    name = new.format(outside=copy.parent, old=old)
    (copy / "sub").mkdir()
    for directory in (copy.parent, copy / "sub"):
        shutil.copy(copy / old, directory / old)
    if "\\" in name:
        shutil.copy(copy / old, copy / name)
    reseal(copy, lambda fields: rename_everywhere(fields, old, name))
    with pytest.raises(BundleError):
        Embedder.load(copy)
    reseal(copy, lambda fields: fields["files"].update({old: fields["files"][name]}))
    with pytest.raises(BundleError, match="a file of a bundle lies in the bundle itself"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["n" * 300, "\ud800", "nul\0", "missing"])
def test_a_name_that_no_file_can_have_is_refused(copy: Path, name: str) -> None:
    reseal(copy, lambda fields: fields["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))
    with pytest.raises(BundleError):
        Bundle.open(copy)


@pytest.mark.parametrize("old", ["model.int8.bin", "model.int8.onnx", "model.int8-unsigned.onnx"])
def test_a_file_that_is_run_but_not_sealed_is_refused(copy: Path, old: str) -> None:
    shutil.copy(copy / old, copy / "other")

    def change(fields: dict[str, Any]) -> None:
        kept = fields["files"][old]
        rename_everywhere(fields, old, "other")
        del fields["files"]["other"]
        fields["files"][old] = kept

    reseal(copy, change)
    with pytest.raises(BundleError, match="does not list 'other'"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_link_that_leaves_the_bundle_is_refused(copy: Path, name: str) -> None:
    (copy / name).rename(copy.parent / name)
    for target in (copy.parent / name, Path("..") / name):
        (copy / name).unlink(missing_ok=True)
        (copy / name).symlink_to(target)
        with pytest.raises(BundleError, match=f"{name} is a link that leaves the bundle"):
            Bundle.open(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_a_file_of_the_bundle_is_fine(copy: Path, tiny: Path, name: str) -> None:
    (copy / name).rename(copy / "real")
    (copy / name).symlink_to("real")
    Bundle.open(copy).verify()
    assert_same_vectors(copy, tiny)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_itself_or_to_nothing_is_refused(copy: Path, name: str) -> None:
    for target in (name, "nothing"):
        (copy / name).unlink()
        (copy / name).symlink_to(target)
        with pytest.raises(BundleError, match=name):
            Bundle.open(copy)


@pytest.mark.parametrize("location", ["../x.bin", "{outside}/x.bin", "sub/../../x.bin", "sub/link.bin"])
def test_a_graph_whose_weights_lie_outside_the_bundle_is_refused(copy: Path, location: str) -> None:
    """Sealed anew, so that only the path in the ONNX file is wrong."""
    shutil.copy(copy / "model.int8.bin", copy.parent / "x.bin")
    (copy / "sub").mkdir()
    (copy / "sub" / "link.bin").symlink_to(copy.parent / "x.bin")
    move_weights(copy, location.format(outside=copy.parent))
    Bundle.open(copy).verify()
    with pytest.raises(BundleError, match=r"model\.int8.*\.onnx"):
        Embedder.load(copy)


def test_a_graph_whose_weights_lie_in_the_bundle_is_not_refused(copy: Path, tiny: Path) -> None:
    """Otherwise the test above would fail for the wrong reason."""
    move_weights(copy, "./model.int8.bin")
    assert_same_vectors(copy, tiny)


def move_weights(directory: Path, location: str) -> None:
    for path in directory.glob("model.int8*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        tensors = graph.graph.initializer
        entries = [entry for tensor in tensors for entry in tensor.external_data if entry.key == "location"]
        assert entries
        for entry in entries:
            entry.value = location
        onnx.save(graph, path)
    reseal(directory, lambda fields: None, hashes=True)


@pytest.mark.parametrize("names", [["model.int8.onnx", "model.int8-unsigned.onnx"], ["tokenizer.json"]], ids=len)
def test_a_sealed_file_of_another_kind_is_refused(copy: Path, names: list[str]) -> None:
    for data in (b"", b"{}", b"\0" * 1000):
        for name in names:
            (copy / name).write_bytes(data)
        reseal(copy, lambda fields: None, hashes=True)
        with pytest.raises(BundleError, match="|".join(names)):
            Embedder.load(copy)
