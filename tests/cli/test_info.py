"""``embedge info`` and ``embedge doctor`` as a user meets them."""

import json
import re
from pathlib import Path

import pytest

from embedge import Embedder
from embedge.engine import capabilities
from tests.cases import FORMS
from tests.cli.running import Cli


def test_info_shows_what_the_bundle_is(cli: Cli, bundle: Path) -> None:
    assert cli("info", bundle) == 0
    rows = dict(re.findall(r"^(\S[\w ]*?)  +(.+)$", cli.out, re.MULTILINE))
    assert rows["bundle"] == str(bundle)
    assert rows["dimensions"] == "384"
    assert rows["longest input"] == "256 tokens"
    assert rows["pooling"] == "mean"
    assert rows["licence"] == "apache-2.0"
    assert {"int8", "fp32"} <= set(rows)
    assert rows["on this CPU"].startswith("int8")
    assert cli.out.count("cosine to") == 2


def test_info_json_is_the_manifest_without_its_fingerprint_vectors(cli: Cli, bundle: Path, model: Embedder) -> None:
    assert cli("info", "--json", bundle) == 0
    fields = json.loads(cli.out)
    assert fields["path"] == str(bundle)
    assert fields["source"]["id"] == model.manifest.source.id
    assert fields["files"]["tokenizer.json"]["sha256"] == model.manifest.files["tokenizer.json"].sha256
    assert list(fields["variants"]) == ["int8", "fp32"]
    assert all("fingerprint" not in measured for measured in fields["measured"]["variants"].values())


def test_doctor_needs_no_bundle(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("doctor") == 0
    assert re.search(r"^threads +\d+, from \w+", cli.out, re.MULTILINE)
    assert re.search(r"^telemetry +off$", cli.out, re.MULTILINE)
    assert re.search(r"^int8 products +\w+", cli.out, re.MULTILINE)
    assert re.search(r"^providers .*CPUExecutionProvider", cli.out, re.MULTILINE)
    assert re.search(r"^bundle +none: no bundle under", cli.out, re.MULTILINE)


def test_doctor_tells_which_variant_of_a_bundle_it_runs(cli: Cli, bundle: Path) -> None:
    assert cli("doctor", bundle) == 0
    assert re.search(rf"^bundle +{re.escape(str(bundle))} ", cli.out, re.MULTILINE)
    assert re.search(r"^variant +int8", cli.out, re.MULTILINE)


@pytest.mark.parametrize(("form", "told"), [("signed", "int8"), ("unsigned", "int8, its weights taken as unsigned")])
def test_info_and_doctor_tell_how_the_weights_are_taken(
    cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch, form: str, told: str
) -> None:
    """What a CPU is found to be is replaced, since this one is of one kind."""
    monkeypatch.setattr(capabilities, "capabilities", lambda: FORMS[form])
    assert cli("info", bundle) == 0
    assert re.search(rf"^on this CPU +{told}$", cli.out, re.MULTILINE)
    assert cli("doctor", bundle) == 0
    assert re.search(rf"^variant +{told}$", cli.out, re.MULTILINE)
    products = {"signed": "exact with weights as they are stored", "unsigned": "those with signed weights overflow"}
    assert re.search(rf"^int8 products +{products[form]}", cli.out, re.MULTILINE)


def test_doctor_of_a_bundle_that_is_not_there_exits_with_1(cli: Cli, tmp_path: Path) -> None:
    assert cli("doctor", tmp_path / "none") == 1
    assert f"no bundle at {tmp_path / 'none'}" in cli.err
