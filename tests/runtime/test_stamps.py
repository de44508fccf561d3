"""Stamps: a load remembers which files had their sealed bytes, and nothing is hidden by that."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import embedge.bundle
from embedge import Bundle, BundleCorrupt, Embedder
from tests.cases import in_own_mounts
from tests.damage import OF_INT8, SEALED, flip, places, reseal


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
    for name in ("stamped", "hashed", "resealed", "read-only", "linked"):
        shutil.copytree(tiny, directory / name, ignore=shutil.ignore_patterns(".verified"))
    (directory / "linked" / "model.int8.bin").rename(directory / "outside.bin")
    (directory / "linked" / "model.int8.bin").symlink_to(directory / "outside.bin")
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


def test_a_file_behind_a_link_is_hashed_once_and_again_when_replaced(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked, outside, other = old / "linked", old / "outside.bin", tmp_path / "other.bin"
    load_and_close(linked)
    assert hashed_by(monkeypatch, lambda: load_and_close(linked)) == set()
    times = outside.stat()
    other.write_bytes(bytes(times.st_size))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(outside)
    with pytest.raises(BundleCorrupt, match=r"model\.int8\.bin"):
        load_and_close(linked)


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
