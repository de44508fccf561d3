"""A damaged, hostile or half-written bundle is never used, and the error names the file."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import write_checkpoint

import embedge.bundle
from embedge import Bundle, BundleCorrupt, BundleError, Embedder, ExportError, UnsupportedFormat
from embedge.manifest import Manifest
from embedge_export import export

FILES = [
    "manifest.json",
    "tokenizer.json",
    "model.int8.onnx",
    "model.int8.bin",
    "model.int8-reduced.onnx",
    "model.fp32.onnx",
    "model.fp32.bin",
]
SEALED = FILES[1:]
RUN_BY_INT8 = FILES[1:4]


@pytest.fixture(scope="module")
def checkpoint(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small enough to be exported in a third of a second."""
    return write_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny", minilm, "cls", hidden_size=16, num_hidden_layers=1
    )


@pytest.fixture(scope="module")
def tiny(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    export(checkpoint, out, precision=["int8", "fp32"], query_prompt="old: ")
    return out


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to change."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


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


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def assert_same_vectors(one: Path, other: Path) -> None:
    with Embedder.load(one) as a, Embedder.load(other) as b:
        assert np.array_equal(a.embed(["a boat", ""]), b.embed(["a boat", ""]))


# Opening


def test_a_bundle_opens_and_verifies_without_reading_weights(tiny: Path) -> None:
    bundle = Bundle.open(tiny)
    bundle.verify()
    assert set(bundle.manifest.files) >= set(SEALED)
    assert set(bundle.manifest.variants) == {"int8", "int8-reduced", "fp32"}
    assert bundle.manifest.prompts.query == "old: "


def test_a_bundle_holds_the_sealed_files_and_nothing_else(tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert listing(tiny) == sorted(FILES)
    export(checkpoint, tmp_path / "int8")
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
def test_every_prompt_comes_back_from_the_bundle_as_it_was_given(checkpoint: Path, tmp_path: Path, prompt: str) -> None:
    export(checkpoint, tmp_path / "out", query_prompt=prompt, document_prompt=prompt[::-1])
    prompts = Bundle.open(tmp_path / "out").manifest.prompts
    assert (prompts.query, prompts.document) == (prompt, prompt[::-1])


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
    variant = next(name_of for name_of in ("fp32", "int8-reduced", "int8") if name_of in f"{name} int8")
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
        shutil.copytree(tiny, directory / name)
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
    variant = next(name_of for name_of in ("fp32", "int8-reduced", "int8") if name_of in f"{name} int8")
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
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(RUN_BY_INT8)
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
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(RUN_BY_INT8)


def test_a_copied_bundle_is_hashed_anew(stamped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(stamped, tmp_path / "copy"))
    assert hashed_by(monkeypatch, lambda: load_and_close(copy)) == set(RUN_BY_INT8)


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


@pytest.mark.parametrize("name", RUN_BY_INT8)
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
    for version in (0, 1, 999, "1", None, [1]):
        reseal(copy, lambda fields, version=version: fields.update(format_version=version))
        with pytest.raises(UnsupportedFormat, match=r"manifest\.json has format version"):
            Embedder.load(copy)


def test_another_format_version_is_told_before_anything_else(copy: Path) -> None:
    """A later version may seal or name its files in another way."""
    (copy / "manifest.json").write_text('{"format_version": 3, "pooling": 3}')
    (copy / "tokenizer.json").unlink()
    with pytest.raises(UnsupportedFormat, match=r"format version 3.*version 2"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 100,
        b"not JSON",
        b'{"format_version": 2',
        b"\xff\xfe\xfa",
        b'"' + b"\xff" * 10 + b'"',
        b"[]",
        b"null",
        b"1",
        b'"format_version"',
        b'["format_version"]',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"format_version": 2}',
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
        "prompts query",
        "variants int8 graph",
        "variants int8 fidelity texts",
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
        ("pooling", "max"),
        ("pooling", ["cls"]),
        ("prompts", []),
        ("prompts query", None),
        ("files", []),
        ("files", {}),
        ("files tokenizer.json", 5),
        ("files tokenizer.json bytes", "5"),
        ("files tokenizer.json sha256", 5),
        ("fingerprint_texts", "text"),
        ("fingerprint_texts", [1]),
        ("variants", []),
        ("variants", {}),
        ("variants int8", None),
        ("variants int8 graph", 1),
        ("variants int8 fidelity", 0.99),
        ("variants int8 fidelity mean_cosine", "1"),
        ("variants int8 fingerprint", [["1"]]),
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


@pytest.mark.parametrize(("field", "value"), [("dimensions", 0), ("dimensions", -1), ("max_tokens", 0)])
def test_a_size_that_can_not_be_is_refused_on_loading(copy: Path, field: str, value: int) -> None:
    reseal(copy, lambda fields: fields.update({field: value}))
    with pytest.raises(BundleError):
        Embedder.load(copy)


def test_a_field_that_is_not_known_is_left_alone(copy: Path) -> None:
    reseal(copy, lambda fields: fields.update(note="made on a Friday"))
    Bundle.open(copy).verify()


def test_an_unknown_variant_is_refused_with_those_there_are(tiny: Path) -> None:
    with pytest.raises(BundleError, match=r"no variant 'int4'.*fp32, int8"):
        Embedder.load(tiny, variant="int4")


# Names that lead out of the bundle


def rename_everywhere(fields: dict[str, Any], old: str, new: str) -> None:
    fields["files"][new] = fields["files"].pop(old)
    for variant in fields["variants"].values():
        for part in ("graph", "weights"):
            if variant[part] == old:
                variant[part] = new


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


@pytest.mark.parametrize("part", ["graph", "weights"])
def test_a_file_that_is_run_but_not_sealed_is_refused(copy: Path, part: str) -> None:
    shutil.copy(copy / "model.int8.bin", copy / "other")
    reseal(copy, lambda fields: fields["variants"]["int8"].update({part: "other"}))
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
    with pytest.raises(BundleError, match=r"model\.int8\.onnx"):
        Embedder.load(copy)


def test_a_graph_whose_weights_lie_in_the_bundle_is_not_refused(copy: Path, tiny: Path) -> None:
    """Otherwise the test above would fail for the wrong reason."""
    move_weights(copy, "./model.int8.bin")
    assert_same_vectors(copy, tiny)


def move_weights(directory: Path, location: str) -> None:
    graph = onnx.load(directory / "model.int8.onnx", load_external_data=False)
    entries = [entry for tensor in graph.graph.initializer for entry in tensor.external_data if entry.key == "location"]
    assert entries
    for entry in entries:
        entry.value = location
    onnx.save(graph, directory / "model.int8.onnx")
    reseal(directory, lambda fields: None, hashes=True)


@pytest.mark.parametrize("name", ["model.int8.onnx", "tokenizer.json"])
def test_a_sealed_file_of_another_kind_is_refused(copy: Path, name: str) -> None:
    for data in (b"", b"{}", b"\0" * 1000):
        (copy / name).write_bytes(data)
        reseal(copy, lambda fields: None, hashes=True)
        with pytest.raises(BundleError, match=name):
            Embedder.load(copy)


# Writing


def write_half(target: Path, then: Callable[[], object], *, force: bool = False) -> None:
    with embedge.bundle.write(target, force=force) as directory:
        (directory / "manifest.json").write_text("{}")
        then()


def raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_body_that_raises_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_half(tmp_path / "new" / "out", raiser(error()))
    assert listing(tmp_path / "new") == []


def test_a_failing_disk_is_an_export_error_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="out can't be written: disk on fire"):
        write_half(tmp_path / "out", raiser(OSError(5, "disk on fire")))
    assert listing(tmp_path) == []


def test_nothing_is_at_the_target_until_the_body_ends(tmp_path: Path) -> None:
    with embedge.bundle.write(tmp_path / "out", force=False) as directory:
        (directory / "manifest.json").write_text("{}")
        assert not (tmp_path / "out").exists()
    assert listing(tmp_path) == ["out"]
    assert listing(tmp_path / "out") == ["manifest.json"]


@pytest.mark.parametrize("kind", ["bundle", "file", "directory", "link", "dangling link"])
def test_what_is_at_the_target_stays_without_force(tiny: Path, checkpoint: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    put(out, kind, tiny)
    before = listing(tmp_path)
    with pytest.raises(ExportError, match="out exists"):
        export(checkpoint, out)
    assert listing(tmp_path) == before
    assert_untouched(out, kind, tiny)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "web app"])
def test_force_replaces_nothing_but_a_bundle(tiny: Path, checkpoint: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    put(out, kind, tiny)
    with pytest.raises(ExportError, match="out exists and is not a bundle"):
        export(checkpoint, out, force=True)
    assert_untouched(out, kind, tiny)


def put(out: Path, kind: str, tiny: Path) -> None:
    match kind:
        case "bundle":
            shutil.copytree(tiny, out)
        case "file":
            out.write_text("mine")
        case "link" | "dangling link":
            out.symlink_to(tiny if kind == "link" else "nowhere")
        case "directory" | "web app":
            out.mkdir()
            (out / "photo.jpg").write_text("mine")
            if kind == "web app":  # a file that browsers call manifest.json too
                (out / "manifest.json").write_text('{"name": "mine", "icons": []}')


def assert_untouched(out: Path, kind: str, tiny: Path) -> None:
    match kind:
        case "bundle":
            Bundle.open(out).verify()
            assert Bundle.open(out).manifest == Bundle.open(tiny).manifest
        case "file":
            assert out.read_text() == "mine"
        case "link" | "dangling link":
            assert out.readlink() == (tiny if kind == "link" else Path("nowhere"))
            Bundle.open(tiny).verify()
        case "directory" | "web app":
            assert (out / "photo.jpg").read_text() == "mine"


def test_force_replaces_a_bundle_as_a_whole(copy: Path, checkpoint: Path) -> None:
    export(checkpoint, copy, force=True, query_prompt="new: ")
    Bundle.open(copy).verify()
    assert Bundle.open(copy).manifest.prompts.query == "new: "
    assert listing(copy) == sorted(FILES[:5])
    assert listing(copy.parent) == ["copy"]


def test_force_replaces_a_damaged_bundle_and_an_empty_directory(copy: Path, checkpoint: Path) -> None:
    (copy / "model.int8.bin").unlink()
    export(checkpoint, copy, force=True)
    Bundle.open(copy).verify()
    (copy.parent / "empty").mkdir()
    export(checkpoint, copy.parent / "empty", force=True)
    Bundle.open(copy.parent / "empty").verify()


def test_an_export_that_fails_under_force_keeps_the_old_bundle(copy: Path, tiny: Path) -> None:
    with pytest.raises(RuntimeError):
        write_half(copy, raiser(RuntimeError()), force=True)
    assert_untouched(copy, "bundle", tiny)
    assert listing(copy.parent) == ["copy"]


@pytest.mark.parametrize("error", [OSError(5, "disk on fire"), KeyboardInterrupt(), SystemExit(143)], ids=repr)
def test_an_error_in_the_middle_of_replacing_brings_the_old_bundle_back(
    copy: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Between the two renames the target is not there."""
    rename = Path.rename

    def fail_for_the_new_one(source: Path, target: Path) -> Path:
        if source.suffix == ".partial":
            raise error
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises((ExportError, KeyboardInterrupt, SystemExit)):
        write_half(copy, lambda: None, force=True)
    assert_untouched(copy, "bundle", tiny)
    assert listing(copy.parent) == ["copy"]


def test_a_target_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="exists"):
        write_half(tmp_path / "out", (tmp_path / "out").mkdir)
    assert listing(tmp_path) == ["out"]
    assert listing(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["file/out", "n" * 300])
def test_a_target_that_can_not_be_made_is_an_export_error(checkpoint: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=name):
        export(checkpoint, tmp_path / name)
    assert listing(tmp_path) == ["file"]


def in_own_mounts(mount: str, then: str, arguments: list[object]) -> subprocess.CompletedProcess[str]:
    """Run ``then`` in a shell that sees the file systems that ``mount`` mounts; they are gone when it ends."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: not Linux")
    script = f"({mount}) || exit 77\n{then}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *map(str, arguments)], capture_output=True, text=True, timeout=100
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize("size", ["100k", "500k", "1m", "2m", "3m"])
def test_a_full_disk_is_an_error_that_leaves_nothing(checkpoint: Path, tmp_path: Path, size: str) -> None:
    done = in_own_mounts(
        f'mount -t tmpfs -o size={size} tmpfs "$1"',
        '"$2" -m embedge export "$3" "$1/out" --precision int8,fp32; code=$?; ls -A "$1"; exit $code',
        [tmp_path, sys.executable, checkpoint],
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "embedge: error: " in done.stderr
    assert f"{tmp_path}/out can't be written" in done.stderr


def test_a_disk_that_is_large_enough_is_not_full(checkpoint: Path, tmp_path: Path) -> None:
    done = in_own_mounts(
        'mount -t tmpfs -o size=10m tmpfs "$1"',
        '"$2" -m embedge export "$3" "$1/out" --precision int8,fp32 && ls -A "$1"',
        [tmp_path, sys.executable, checkpoint],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nout\n")


# Exports that are killed. The export writes six lines, one before each step.


def export_and_signal(
    checkpoint: Path, out: Path, number: signal.Signals, after_lines: int, delay: float, *options: str
) -> int:
    command = [
        sys.executable,
        "-m",
        "embedge",
        "export",
        str(checkpoint),
        str(out),
        "--query-prompt",
        "new: ",
        *options,
    ]
    # A job that a shell started in the background ignores Ctrl-C, and so would the export.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr
        for _ in range(after_lines):
            assert process.stderr.readline()
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        process.stderr.read()
    return process.returncode


def moments(seed: int) -> list[tuple[int, float]]:
    """``(lines, seconds after them)``: once in each step, and around the rename at the end."""
    draw = random.Random(seed)
    return [*((line, draw.uniform(0, 0.02)) for line in range(1, 6)), (6, 0), (6, draw.uniform(0, 0.03)), (6, 0.2)]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_an_export_that_is_killed_leaves_a_whole_bundle_or_none(checkpoint: Path, tmp_path: Path) -> None:
    for number, (line, delay) in enumerate(moments(1)):
        out = tmp_path / str(number)
        code = export_and_signal(checkpoint, out, signal.SIGKILL, line, delay)
        assert code in (-signal.SIGKILL, 0)
        if out.exists():
            Bundle.open(out).verify()
        assert out.exists() or code != 0


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_an_export_of_the_trained_model_that_is_killed_leaves_no_bundle(minilm: Path, tmp_path: Path) -> None:
    assert export_and_signal(minilm, tmp_path / "out", signal.SIGKILL, 3, 0.1) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_export_that_is_told_to_end_removes_what_it_wrote(
    checkpoint: Path, tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    for line, delay in moments(number)[number == signal.SIGINT :: 2]:
        code = export_and_signal(checkpoint, tmp_path / "out", number, line, delay)
        if (tmp_path / "out").exists():
            Bundle.open(tmp_path / "out").verify()
            assert listing(tmp_path) == ["out"]
            shutil.rmtree(tmp_path / "out")
        else:
            assert code == expected
            assert listing(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_forced_export_that_is_killed_keeps_the_old_bundle_or_has_the_new_one(
    checkpoint: Path, copy: Path, number: signal.Signals
) -> None:
    for line, delay in [(2, 0.01), (4, 0.02), (6, 0.0), (6, 0.02)]:
        code = export_and_signal(checkpoint, copy, number, line, delay, "--force")
        bundle = Bundle.open(copy)
        bundle.verify()
        assert bundle.manifest.prompts.query in ("old: ", "new: ")
        if line < 6:
            assert bundle.manifest.prompts.query == "old: "
        if code == 0:
            assert bundle.manifest.prompts.query == "new: "
        if number != signal.SIGKILL:
            assert listing(copy.parent) == ["copy"]
