"""A bundle that is damaged or half written is never used, and the error names the file."""

import os
import random
import shutil
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorrupt, BundleError, Embedder
from embedge.manifest import Manifest
from embedge_export import export
from tests.cases import listing
from tests.damage import FILES, SEALED, flip, places, reseal

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
