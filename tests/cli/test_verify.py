"""``embedge verify`` as a user meets it."""

import re
import shutil
from pathlib import Path

import pytest

from embedge import ProviderError, checks, fingerprint
from tests.cli.running import Cli


def test_verify_of_a_sound_bundle_exits_with_0(cli: Cli, bundle: Path) -> None:
    assert cli("verify", bundle) == 0
    assert "7 files have their sealed bytes" in cli.out
    for name, cosine in {"int8": r"(1\.0+|0\.99\d+)", "fp32": r"(1\.0+|0\.999999)"}.items():
        assert re.search(rf"^{name} on cpu: vectors as sealed on .+, cosine {cosine} \(min ", cli.out, re.MULTILINE)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.int8.onnx", "model.int8.bin", "manifest.json"])
def test_verify_names_the_file_in_which_a_byte_was_flipped(cli: Cli, bundle: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert cli("verify", copy) == 1
    assert str(copy / name) in cli.err
    assert cli.err.count("\n") == 1


def test_verify_names_a_variant_that_gives_other_vectors(
    cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "cosine", lambda model: 0.9)
    assert cli("verify", bundle) == 1
    assert f"int8 of {bundle} gives other vectors here than where it was sealed: cosine 0.900000" in cli.err


def test_verify_fails_where_a_variant_fails_to_run(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise ProviderError("ONNX Runtime failed on 1 texts of 8 tokens")

    monkeypatch.setattr(fingerprint, "cosine", fail)
    assert cli("verify", bundle) == 1
    assert "ONNX Runtime failed" in cli.err


def test_verify_fails_where_no_variant_can_be_run(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are right then, but nobody knows about its vectors."""

    def refuse(variants: object, name: str, *_: object) -> None:
        raise ProviderError(f"variant {name!r} can't run here")

    monkeypatch.setattr(checks, "choose", refuse)
    assert cli("verify", bundle) == 1
    assert "int8: not run: variant 'int8' can't run here" in cli.out
    assert f"no variant of {bundle} can run on cpu here, so no vectors were compared" in cli.err
