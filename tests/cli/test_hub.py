"""``embedge export`` of a hub id, from a hub on this machine."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases import MakeCheckpoint
from tests.cli.running import Cli, lines_of, process
from tests.hub import Hub, environment, serve


def export_from(
    endpoint: str, model_id: str, directory: Path, out: tuple[str, ...] = ("out",)
) -> subprocess.CompletedProcess[str]:
    """Export a hub's model in ``directory``; nothing but ``endpoint`` is asked, with a cache of its own."""
    return process("export", model_id, *out, cwd=directory, env=environment(endpoint, directory / "cache"), text=True)


@pytest.fixture
def stand_in_hub(make_checkpoint: MakeCheckpoint) -> Iterator[str]:
    """The address of a hub on this machine that has one small model under every id."""
    with serve(make_checkpoint("served")) as address:
        yield address


def test_a_stand_in_hub_serves_a_model_that_exports(stand_in_hub: str, cli: Cli, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "someone/model", tmp_path)
    assert done.returncode == 0, done.stderr
    assert cli("info", "--json", tmp_path / "out") == 0
    source = json.loads(cli.out)["source"]
    weights = (tmp_path / "served" / "model.safetensors").read_bytes()
    assert source == {
        "id": "someone/model",
        "revision": Hub.revision,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "license": None,
    }


def test_without_a_directory_it_goes_to_the_store_and_is_found_by_its_id(
    stand_in_hub: str, cli: Cli, tmp_path: Path, store: Path
) -> None:
    done = export_from(stand_in_hub, "someone/model", tmp_path, ())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{store / 'someone' / 'model'}: ")
    assert done.stdout.endswith("embedge embed --model someone/model 'a text'\n")
    assert cli("embed", "--model", "someone/model", "a text") == 0
    assert len(lines_of(cli.out)) == 1
    again = export_from(stand_in_hub, "Someone/Model", tmp_path, ())
    assert f"{store / 'someone' / 'model'} exists" in again.stderr
    assert export_from(stand_in_hub, "someone/model", tmp_path, ("--force",)).returncode == 0
    assert sorted(path.name for path in (store / "someone").iterdir()) == ["model"]


def test_a_stand_in_hub_with_other_weights_for_bge_small_en_is_refused(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "BAAI/bge-small-en", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr.splitlines()[-1]
    assert "e3f93baaef0f082d01814223d65942241664d215849a5b76a95f9d390da379b6" in error
    assert "model.safetensors has sha256" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "served"]


def test_a_stand_in_hub_that_has_no_such_model_is_told(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "no/model", tmp_path)
    assert done.returncode == 1
    assert "no such model on the hub" in done.stderr.splitlines()[-1]


def test_a_hub_that_can_not_be_reached_is_told_with_a_way_out(tmp_path: Path) -> None:
    done = export_from("http://127.0.0.1:9", "someone/model", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *steps, error = done.stderr.splitlines()
    assert len(steps) == 1
    assert error.startswith("embedge: error: someone/model can't be fetched")
    assert "give their directory" in error
    assert not (tmp_path / "out").exists()
