"""Which wheels a target takes, what is left out, the archive, and what can't be packed."""

import errno
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorrupt, BundleError, Embedder, PackError
from embedge.cli import main
from embedge.pack import aws_lambda, packages
from embedge.pack.archive import write_zip
from embedge.pack.aws_lambda import HANDLER, lambda_target, pack_function
from embedge.pack.bytecode import compile_modules, find_python
from embedge.pack.packages import NEEDED
from embedge.pack.target import Target
from embedge.pack.unused import is_unused
from tests.cases import ROOT
from tests.damage import flip

ARM = lambda_target("arm64", "3.12")
UNKNOWN = Target((3, 99), "x86_64", 34)
"""No package is for it, and no Python of it is here."""


@pytest.mark.parametrize(
    ("tag", "taken"),
    [
        ("cp312-cp312-manylinux_2_28_aarch64", True),
        ("cp312-cp312-manylinux_2_34_aarch64", True),
        ("cp310-abi3-manylinux2014_aarch64", True),
        ("py3-none-any", True),
        ("py3-none-manylinux_2_17_aarch64", True),
        ("cp312-cp312-manylinux_2_35_aarch64", False),
        ("cp312-cp312-manylinux_2_28_x86_64", False),
        ("cp311-cp311-manylinux_2_28_aarch64", False),
        ("cp312-cp312t-manylinux_2_28_aarch64", False),
        ("cp313-abi3-manylinux2014_aarch64", False),
        ("cp312-cp312-musllinux_1_2_aarch64", False),
        ("cp312-cp312-macosx_11_0_arm64", False),
    ],
)
def test_a_target_takes_the_wheels_that_run_there(tag: str, taken: bool) -> None:
    assert ARM.takes(tag) is taken


@pytest.mark.parametrize("python", ["3.11", "3.9", "3.15", "python3.12", ""])
def test_a_python_that_lambda_can_not_run_it_on_is_refused(python: str) -> None:
    with pytest.raises(PackError, match=r"only for 3.12, 3.13, 3.14"):
        lambda_target("x86_64", python)


def test_what_is_never_imported_is_left_out() -> None:
    """Not each rule by itself: a new version of a package may have moved what one of them is for."""
    files = [file for name in NEEDED for file in metadata.distribution(name).files or [] if ".." not in file.parts]
    sizes = {file.as_posix(): file.size or 0 for file in files}
    unused = {name: size for name, size in sizes.items() if is_unused(name)}
    assert sum(unused.values()) > 20e6
    assert sum(size for name, size in sizes.items() if name.endswith(".py") and name not in unused) < 10e6


def test_an_archive_has_the_same_bytes_for_the_same_files(tmp_path: Path) -> None:
    archives = []
    for number, (mode, when) in enumerate([(0o600, 1e9), (0o755, 2e9)]):
        directory = tmp_path / str(number)
        (directory / "b").mkdir(parents=True)
        (directory / "b" / "file.so").write_bytes(b"library")
        (directory / "a.py").symlink_to(directory / "b" / "file.so")
        (directory / "b" / "file.so").chmod(mode)
        os.utime(directory / "b" / "file.so", (when, when))
        archives.append(tmp_path / f"{number}.zip")
        write_zip(directory, archives[-1])
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with zipfile.ZipFile(archives[0]) as archive:
        assert archive.namelist() == ["a.py", "b/file.so"]
        assert archive.read("a.py") == b"library"  # not a link
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_modules_are_compiled_to_the_same_bytes(tmp_path: Path) -> None:
    python = find_python(Target(sys.version_info[:2], "x86_64", 34))
    assert python == sys.executable
    compiled = []
    for name in ("one", "other"):
        shutil.copytree(ROOT / "runtime/embedge/engine", tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        compile_modules(python, tmp_path / name, "/var/task")
        compiled.append({path.name: path.read_bytes() for path in tmp_path.joinpath(name).rglob("*.pyc")})
    assert compiled[0] == compiled[1]
    assert len(compiled[0]) > 10
    assert all(data[4] == 0b01 for data in compiled[0].values())  # by a hash of the source, which is not looked at
    assert b"/var/task/choose.py" in next(data for name, data in compiled[0].items() if name.startswith("choose"))


def test_no_python_of_that_version_is_none() -> None:
    assert find_python(UNKNOWN) is None


def wheelhouse(directory: Path) -> Path:
    """Wheels of the packages in the versions installed here, for the target and for others, with a line in each."""
    for name in NEEDED:
        version = metadata.version(name)
        for tag in (
            "cp312-cp312-manylinux_2_28_aarch64",
            "cp312-cp312-manylinux_2_39_aarch64",
            "cp311-cp311-manylinux_2_28_aarch64",
            "cp312-cp312-manylinux_2_28_x86_64",
        ):
            info = f"{name}-{version}.dist-info"
            files = {
                f"{name}/__init__.py": f"TAG = {tag!r}\n",
                f"{name}/py.pyi": "",
                f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: none\n",
                f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: {tag}\n",
            }
            record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
            with zipfile.ZipFile(directory / f"{name}-{version}-{tag}.whl", "w") as wheel:
                for file, text in {**files, f"{info}/RECORD": record}.items():
                    wheel.writestr(file, text)
    return directory


def test_the_command_fetches_wheels_for_another_machine(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse(wheels)))
    monkeypatch.setattr(aws_lambda, "find_python", lambda target: None)
    out = tmp_path / "function.zip"
    out.write_bytes(b"an older one")
    assert main(["pack", "lambda", str(tiny), str(out), "--arch", "arm64"]) == 0
    said = capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert archive.read("handler.py").decode() == HANDLER
        for name in NEEDED:
            assert b"manylinux_2_28_aarch64" in archive.read(f"{name}/__init__.py")
            assert f"{name}-{metadata.version(name)}.dist-info/METADATA" in names
            assert f"{metadata.version(name)}, fetched by pip" in said
    assert not any("pip" in name or name.endswith((".pyi", "RECORD", "INSTALLER", ".pyc")) for name in names)
    assert {name.split("/")[1] for name in names if name.startswith("embedge/")}.isdisjoint({"server", "cli", "pack"})
    assert "compiled     no: each start compiles, since python3.12 is not here" in said
    assert "kernels      no: give the wheel with --kernels" in said
    assert "tried here   no: that needs python3.12 on Linux for aarch64, with glibc 2.34" in said


def test_what_pip_can_not_get_is_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["pack", "lambda", str(tiny), str(tmp_path / "out.zip"), "--arch", "arm64", "--python", "3.13"]) == 1
    said = capsys.readouterr().err
    assert f"pip has not numpy=={metadata.version('numpy')}" in said
    assert "for Python 3.13 on aarch64 with glibc 2.34: ERROR: Could not find a version" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_pip_it_says_what_to_install(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedge.pack.packages.util.find_spec", lambda name: None)
    with pytest.raises(PackError, match=r"pip is not installed for .*ensurepip"):
        pack_function(Bundle.open(tiny), tmp_path / "out.zip", ARM)


def test_no_file_of_the_working_directory_is_taken_for_pip(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PackError, match="pip has not numpy"):
        pack_function(Bundle.open(tiny), tmp_path / "out.zip", ARM)
    assert [path.name for path in tmp_path.iterdir()] == ["pip.py"]


def test_what_pip_leaves_behind_is_deleted(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-C, which ends it before it has tidied up."""

    def stopped(command: list[str], *, env: Mapping[str, str], **_: object) -> None:
        (Path(env["TMPDIR"]) / "pip-unpack").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("embedge.pack.packages.subprocess.run", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack_function(Bundle.open(tiny), tmp_path / "out.zip", ARM)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(aws_lambda, "gather", full)
    with pytest.raises(PackError, match=r"in a temporary directory: No space left on device; \$TMPDIR may name"):
        pack(tiny, tmp_path / "out.zip")


@pytest.mark.parametrize(
    "name",
    ["embedge_kernels-0.1.0-py3-none-any.whl", "numpy-2.4.6-py3-none-any.whl", "embedge_kernels-0.1.0.tar.gz"],
)
def test_the_kernels_wheel_has_to_be_one(name: str, tmp_path: Path) -> None:
    if not name.startswith("embedge_kernels-0.1.0-"):  # that one is not there
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(PackError, match=r"is no wheel of embedge-kernels"):
        packages.gather(Target(sys.version_info[:2], "x86_64", 34), tmp_path / "out", tmp_path / name)


def test_a_package_that_was_changed_is_refused(tmp_path: Path) -> None:
    """As by somebody who edited it to find a fault: it would go into a function unseen."""
    info = tmp_path / "changed-1.dist-info"
    info.mkdir()
    (tmp_path / "changed.py").write_text("print('edited')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: changed\nVersion: 1\n")
    (info / "RECORD").write_text("changed.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")
    with pytest.raises(PackError, match=r"changed\.py was changed since changed was installed"):
        packages._copy(metadata.Distribution.at(info), tmp_path / "out")


def test_of_a_package_only_what_lies_in_it_is_copied(tmp_path: Path) -> None:
    """Installers note programs and other files beside it, too: by a path upwards, or from the root."""
    info = tmp_path / "here" / "away-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: away\nVersion: 1\n")
    (tmp_path / "settings").write_bytes(b"")
    digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0"
    (info / "RECORD").write_text(f"{tmp_path / 'settings'},{digest}\n../settings,{digest}\n")
    os.utime(tmp_path / "settings", (1e9, 1e9))
    packages._copy(metadata.Distribution.at(info), tmp_path / "out")
    assert (tmp_path / "settings").stat().st_mtime == 1e9
    assert not (tmp_path / "out").exists()


def test_a_package_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "gone-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1\n")
    (info / "RECORD").write_text("gone.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")
    with pytest.raises(PackError, match=r"gone\.py is missing since gone was installed: install that package again"):
        packages._copy(metadata.Distribution.at(info), tmp_path / "out")


def pack(bundle: Path, out: Path) -> None:
    pack_function(Bundle.open(bundle), out, UNKNOWN)


def test_a_damaged_bundle_is_refused(copy: Path, tmp_path: Path) -> None:
    with Embedder.load(copy, variant="int8"):
        pass
    flip(copy / "model.int8.bin", 1000, 3)
    with pytest.raises(BundleCorrupt, match=r"model\.int8\.bin was altered"):
        pack(copy, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_damage_of_a_variant_that_is_not_packed_is_no_matter(copy: Path, tmp_path: Path) -> None:
    from embedge.pack.bundles import copy_variant

    flip(copy / "model.fp32.bin", 1000, 3)
    copy_variant(Bundle.open(copy), "int8", tmp_path / "part")
    with Embedder.load(tmp_path / "part") as part, Embedder.load(copy, variant="int8") as whole:
        assert (part.embed(["a text"]) == whole.embed(["a text"])).all()
    assert list(part.manifest.variants) == ["int8"]


def test_a_bundle_without_int8_is_refused(fp16_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"has no variant int8, only fp16, fp32: export .* --precision int8"):
        pack(fp16_bundle, tmp_path / "out.zip")


@pytest.mark.parametrize("out", [".", "missing/out.zip"])
def test_an_out_that_can_not_be_written_is_refused(out: str, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="can't be written"):
        pack(tiny, tmp_path / out)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_or_a_device_stays_what_it_is(tiny: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.zip")
    with pytest.raises(PackError, match="can't be written"):
        pack(tiny, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").is_fifo()


def test_no_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        pack(tmp_path, tmp_path / "out.zip")


def test_a_function_that_lambda_does_not_take_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lambda, "gather", lambda *_: [])
    monkeypatch.setattr(aws_lambda, "MOST_BYTES", 100_000)
    with pytest.raises(PackError, match=r"the function has \d+ MB, \d+ of them the bundle, and Lambda takes 0"):
        pack(tiny, tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_does_not_run_is_not_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lambda, "gather", lambda *_: [])
    with pytest.raises(PackError, match="does not run on this machine, so it was not written: ModuleNotFoundError"):
        pack_function(Bundle.open(tiny), tmp_path / "out.zip", Target(sys.version_info[:2], os.uname().machine, 34))
    assert list(tmp_path.iterdir()) == []


def test_the_examples_handler_is_the_one_that_is_packed() -> None:
    assert (ROOT / "examples/lambda/handler.py").read_text(encoding="utf-8") == HANDLER
