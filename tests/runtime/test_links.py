"""Where the files of a bundle lie: names that lead out of it, links, what is no regular file, paths."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import embedge.bundle
from embedge import Bundle, BundleCorrupt, BundleError, Embedder
from tests.damage import FILES, SEALED, assert_same_vectors, flip, reseal


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


def in_hub_cache(root: Path, name: str) -> Path:
    """``blobs`` beside the snapshots, each named by its hash."""
    return root / "blobs" / hashlib.sha256(name.encode()).hexdigest()


def in_dvc_cache(root: Path, name: str) -> Path:
    """Each in the directory that the first digits of its hash name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return root / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def in_nix_store(root: Path, name: str) -> Path:
    """A directory for each, which keeps its name."""
    return root / "store" / hashlib.sha256(name.encode()).hexdigest()[:8] / name


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@pytest.mark.parametrize("place", [in_hub_cache, in_dvc_cache, in_nix_store])
def test_a_bundle_of_links_into_a_cache_gives_the_same_vectors(
    tiny: Path, tmp_path: Path, place: Callable[[Path, str], Path], relative: bool
) -> None:
    linked = tmp_path / "snapshots" / "main"
    linked.mkdir(parents=True)
    for name in FILES:
        target = place(tmp_path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny / name, target)
        (linked / name).symlink_to(os.path.relpath(target, linked) if relative else target)
    assert all(check.passed for check in embedge.verify(linked))
    for variant in ("int8", "fp32"):
        with Embedder.load(linked, variant=variant) as model, Embedder.load(tiny, variant=variant) as plain:
            for texts in (["a boat"], ["a boat", "the sea", "of", "many words"]):  # in sessions of both kinds
                assert np.array_equal(model.embed(texts), plain.embed(texts))


def test_a_volume_of_kubernetes_loads_before_and_after_its_link_is_swapped(copy: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    for version in ("..one", "..two"):
        shutil.copytree(copy, volume / version)
    (volume / "..data").symlink_to("..one")
    for name in FILES:
        (volume / name).symlink_to(Path("..data") / name)
    assert_same_vectors(volume, copy)
    (volume / "..new").symlink_to("..two")
    (volume / "..new").replace(volume / "..data")
    shutil.rmtree(volume / "..one")
    assert_same_vectors(volume, copy)


@pytest.mark.parametrize("name", SEALED)
def test_a_changed_byte_behind_a_link_is_found(copy: Path, tmp_path: Path, name: str) -> None:
    outside = (copy / name).rename(tmp_path / "outside")
    (copy / name).symlink_to(outside)
    variant = "fp32" if "fp32" in name else "int8"
    Embedder.load(copy, variant=variant).close()
    flip(outside, 40, 2)
    with pytest.raises(BundleCorrupt, match=name):
        Embedder.load(copy, variant=variant)
    with pytest.raises(BundleCorrupt, match=name):
        Bundle.open(copy).verify()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # which may have 100 characters


def make_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Reading a pipe that nobody writes to waits for ever: after a minute it is an error here."""

    def fail(*_: object) -> None:
        raise AssertionError("waits for a pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_regular_file_is_refused_at_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(copy)
    (copy / name).unlink()
    make(copy / name)
    for call in (Bundle.open, Embedder.load, embedge.verify):
        with pytest.raises(BundleError, match=f"{name} is not a regular file"):
            call(copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device])
def test_stamps_that_are_no_regular_file_are_not_read(
    copy: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(copy)
    (copy / ".verified").unlink(missing_ok=True)
    make(copy / ".verified")
    assert_same_vectors(copy, tiny)


LOAD = """if True:
    import os, sys
    from embedge import BundleError, Embedder
    directory = os.fsdecode(bytes.fromhex(sys.argv[1]))
    for path in (directory, os.fsencode(directory)):
        try:
            if isinstance(path, bytes):
                os.chdir(path)
                path = "."
            print(Embedder.load(path).embed(["a boat"]).shape)
        except BundleError as exc:
            print("the path" in str(exc) and "is not UTF-8" in str(exc))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux only")
@pytest.mark.parametrize("name", [b"caf\xe9", "café".encode()], ids=["Latin-1", "UTF-8"])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_path_that_is_not_utf8_works_or_is_named(tiny: Path, tmp_path: Path, name: bytes, locale: str) -> None:
    directory = os.fsencode(shutil.copytree(tiny, tmp_path / os.fsdecode(name)))
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", LOAD, directory.hex()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split("\n")) <= {"(1, 16)", "True", ""}
    assert len(done.stdout.splitlines()) == 2
    if name == "café".encode() and locale == "C.UTF-8":
        assert done.stdout == "(1, 16)\n(1, 16)\n"


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
