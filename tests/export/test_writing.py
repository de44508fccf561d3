"""A bundle is written whole or not at all, and what was there before stays until then."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import embedge.bundle
from embedge import Bundle, ExportError, atomic
from embedge.atomic import replace_directory
from embedge_export import export
from tests.cases import in_own_mounts, listing

FILES_OF_INT8 = ["manifest.json", "model.int8-unsigned.onnx", "model.int8.bin", "model.int8.onnx", "tokenizer.json"]


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
def test_what_is_at_the_target_stays_without_force(
    tiny: Path, tiny_checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    put(out, kind, tiny)
    before = listing(tmp_path)
    with pytest.raises(ExportError, match="out exists"):
        export(tiny_checkpoint, out)
    assert listing(tmp_path) == before
    assert_untouched(out, kind, tiny)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "web app"])
def test_force_replaces_nothing_but_a_bundle(tiny: Path, tiny_checkpoint: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    put(out, kind, tiny)
    with pytest.raises(ExportError, match="out exists and is not a bundle"):
        export(tiny_checkpoint, out, force=True)
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


def test_force_replaces_a_bundle_as_a_whole(copy: Path, tiny_checkpoint: Path) -> None:
    export(tiny_checkpoint, copy, force=True, query_prompt="new: ")
    Bundle.open(copy).verify()
    assert Bundle.open(copy).manifest.prompts["query"] == "new: "
    assert listing(copy) == FILES_OF_INT8
    assert listing(copy.parent) == ["copy"]


def test_force_replaces_a_damaged_bundle_and_an_empty_directory(copy: Path, tiny_checkpoint: Path) -> None:
    (copy / "model.int8.bin").unlink()
    export(tiny_checkpoint, copy, force=True)
    Bundle.open(copy).verify()
    (copy.parent / "empty").mkdir()
    export(tiny_checkpoint, copy.parent / "empty", force=True)
    Bundle.open(copy.parent / "empty").verify()


def test_an_export_that_fails_under_force_keeps_the_old_bundle(copy: Path, tiny: Path) -> None:
    with pytest.raises(RuntimeError):
        write_half(copy, raiser(RuntimeError()), force=True)
    assert_untouched(copy, "bundle", tiny)
    assert listing(copy.parent) == ["copy"]


@pytest.mark.skipif(sys.platform != "linux", reason="one call exchanges two directories on Linux only")
def test_there_is_a_whole_bundle_in_the_place_at_every_moment_of_replacing_it(copy: Path) -> None:
    seen: list[bool] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.append((copy / "manifest.json").exists())

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(100):
        with replace_directory(copy, check=lambda replaced: None) as partial:
            (partial / "manifest.json").write_text("{}")
    stop.set()
    thread.join()
    assert len(seen) > 100
    assert all(seen)
    assert listing(copy.parent) == ["copy"]


KILLED_BETWEEN = """if True:
    import os, sys
    from pathlib import Path
    from embedge import atomic
    rename = Path.rename
    def die_before_the_second(source, target):
        if source.suffix == ".partial":
            os._exit(9)
        return rename(source, target)
    Path.rename = die_before_the_second
    atomic._swap = lambda one, other: False
    with atomic.replace_directory(Path(sys.argv[1]), check=lambda replaced: None) as partial:
        (partial / "manifest.json").write_text("{}")
"""


def test_without_an_exchange_a_kill_between_the_renames_leaves_the_old_bundle_beside_its_place(
    copy: Path, tiny: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, str(copy)])
    assert done.returncode == 9
    assert not copy.exists()
    [replaced] = copy.parent.glob(".copy.*.replaced")
    assert_untouched(replaced, "bundle", tiny)


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

    monkeypatch.setattr(atomic, "_swap", lambda one, other: False)
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


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_appears_in_the_last_moment_stays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """While the files are brought to the disk, which takes long."""
    sync = atomic._sync

    def appear(directory: Path) -> None:
        sync(directory)
        put(tmp_path / "out", "directory", tiny)

    monkeypatch.setattr(atomic, "_sync", appear)
    with pytest.raises(ExportError, match="out "):
        write_half(tmp_path / "out", lambda: None, force=force)
    assert_untouched(tmp_path / "out", "directory", tiny)
    assert listing(tmp_path) == ["out"]


@pytest.mark.parametrize("swaps", [True, False], ids=["exchange", "two renames"])
def test_a_file_that_appears_in_the_old_bundle_in_the_last_moment_stays(
    copy: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    swap = atomic._swap

    def appear(one: Path, other: Path) -> bool:
        if one.suffix == ".partial" and not (one / "photo.jpg").exists():
            (other / "photo.jpg").write_text("mine")
        return swaps and swap(one, other)

    monkeypatch.setattr(atomic, "_swap", appear)
    with pytest.raises(ExportError, match=r"copy has photo\.jpg, which is no file of a bundle"):
        write_half(copy, lambda: None, force=True)
    assert (copy / "photo.jpg").read_text() == "mine"
    assert_untouched(copy, "bundle", tiny)
    assert listing(copy.parent) == ["copy"]


@pytest.mark.parametrize("name", ["README.md", ".git", "model.int8.onnx/"])
def test_force_replaces_no_bundle_with_other_files_beside_its_own(copy: Path, tiny_checkpoint: Path, name: str) -> None:
    """As in a clone of a published one."""
    if name == "README.md":
        (copy / name).write_text("mine")
    else:
        (copy / name).unlink(missing_ok=True) if name.endswith("/") else None
        (copy / name).mkdir()
    before = listing(copy)
    with pytest.raises(ExportError, match=rf"copy has {name.rstrip('/')}, which is no file of a bundle"):
        export(tiny_checkpoint, copy, force=True)
    assert listing(copy) == before


def test_force_replaces_a_bundle_with_what_its_loads_have_left(copy: Path, tiny_checkpoint: Path) -> None:
    (copy / ".verified").write_text("{}")
    (copy / "..verified.0123abcd.partial").write_text("{")
    export(tiny_checkpoint, copy, force=True)
    assert listing(copy) == FILES_OF_INT8


@pytest.mark.parametrize("name", ["file/out", "n" * 300])
def test_a_target_that_can_not_be_made_is_an_export_error(tiny_checkpoint: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=name):
        export(tiny_checkpoint, tmp_path / name)
    assert listing(tmp_path) == ["file"]


@pytest.mark.parametrize("size", ["100k", "500k", "1m", "2m", "3m"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path, size: str) -> None:
    done = in_own_mounts(
        f'mount -t tmpfs -o size={size} tmpfs "$1"',
        '"$2" -m embedge export "$3" "$1/out" --precision int8,fp32; code=$?; ls -A "$1"; exit $code',
        [tmp_path, sys.executable, tiny_checkpoint],
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "embedge: error: " in done.stderr
    assert f"{tmp_path}/out can't be written" in done.stderr


def test_a_disk_that_is_large_enough_is_not_full(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = in_own_mounts(
        'mount -t tmpfs -o size=10m tmpfs "$1"',
        '"$2" -m embedge export "$3" "$1/out" --precision int8,fp32 && ls -A "$1"',
        [tmp_path, sys.executable, tiny_checkpoint],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nout\n")
