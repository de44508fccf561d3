"""What the models of a server are called, and which one a request means."""

import shutil
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from embedge import Embedder
from embedge.requests import Refused
from embedge.server import create_app
from embedge.server.models import Models
from tests.damage import reseal
from tests.server.conftest import serving


@pytest.fixture
def two(tiny: Path, tmp_path: Path) -> list[Embedder]:
    """One checkpoint, in two variants and directories."""
    return [
        Embedder.load(shutil.copytree(tiny, tmp_path / variant / f"tiny-{variant}"), variant=variant)
        for variant in ("int8", "fp32")
    ]


def test_a_model_has_the_name_of_its_checkpoint_and_shorter_ones(model: Embedder) -> None:
    models = Models([model])
    served = models.get("sentence-transformers/all-MiniLM-L6-v2")
    assert served.model is model
    for name in ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2:latest", model.path.name):
        assert models.get(name) is served


def test_variants_of_one_checkpoint_are_known_by_their_directories(two: list[Embedder]) -> None:
    with serving(*two) as url, httpx.Client(base_url=url) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["tiny-int8", "tiny-fp32"]
        answers = [
            client.post("/v1/embeddings", json={"input": "a", "model": name}) for name in ("tiny-int8", "tiny-fp32")
        ]
        assert answers[0].json()["data"] != answers[1].json()["data"]
        prints = [answer.headers["x-embedge-fingerprint"].partition("-")[0] for answer in answers]
        assert prints == ["int8", "fp32"]
        unnamed = client.post("/v1/embeddings", json={"input": "a"})
        assert unnamed.status_code == 404
        assert "models for embedding here: tiny-int8, tiny-fp32" in unnamed.json()["error"]["message"]


def test_the_same_bundle_in_another_place_has_the_same_fingerprint(tiny: Path, two: list[Embedder]) -> None:
    with Embedder.load(tiny, variant="int8") as again:
        assert Models([again]).get("tiny").fingerprint == Models(two).get("tiny-int8").fingerprint


def test_two_models_of_one_name_are_an_error(tiny: Path, tmp_path: Path) -> None:
    copies = [Embedder.load(shutil.copytree(tiny, tmp_path / place / "same"), variant="fp32") for place in "ab"]
    with pytest.raises(ValueError, match="two bundles are called same: rename"):
        create_app(copies)


def test_a_short_name_that_two_models_have_means_none_of_them(two: list[Embedder], tmp_path: Path) -> None:
    copies = []
    for owner in ("one", "other"):
        copy = shutil.copytree(two[0].path, tmp_path / owner / "bundle")
        reseal(copy, lambda fields, owner=owner: fields["source"].update(id=f"{owner}/model"))  # type: ignore[misc]
        copies.append(Embedder.load(copy, variant="fp32"))
    models = Models(copies)
    assert [models.get(f"{owner}/model").model for owner in ("one", "other")] == copies
    for name in ("model", "bundle"):
        with pytest.raises(Refused, match=f"no model '{name}' here, but: one/model, other/model"):
            models.get(name)


def test_a_model_may_be_called_in_any_script(tiny: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny, tmp_path / "bundle")
    reseal(bundle, lambda fields: fields["source"].update(id="東京/модель 1"))
    with Embedder.load(bundle, variant="fp32") as model, serving(model) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": "a", "model": "東京/модель 1"})
    assert (answer.status_code, answer.json()["model"]) == (200, "東京/модель 1")
    assert unquote(answer.headers["x-embedge-model"]) == "東京/модель 1"


def test_no_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="no model"):
        create_app([])


def test_a_model_may_have_a_name_that_no_header_can_carry(tiny: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny, tmp_path / "模型 1")
    reseal(bundle, lambda fields: fields["source"].update(id="模型 1"))
    with Embedder.load(bundle, variant="fp32") as model, serving(model) as address:
        answer = httpx.post(f"{address}/v1/embeddings", json={"input": "a", "model": "模型 1"})
        assert (answer.status_code, answer.json().get("model")) == (200, "模型 1")
        assert answer.headers["x-embedge-model"] == "%E6%A8%A1%E5%9E%8B%201"
