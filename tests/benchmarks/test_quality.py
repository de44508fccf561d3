"""Published vectors, where the checkpoints that give them are (`make quality`)."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge_export import export
from tests.cases import ROOT

pytestmark = pytest.mark.quality

DATA = Path(os.environ.get("EMBEDGE_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("EMBEDGE_BGE_SMALL_EN", "bge_small_en_partial.json"),
        ("EMBEDGE_BGE_SMALL_EN_V15", "bge_small_en_v15_full384.json"),
    ],
)
def test_bge_small_gives_its_published_vectors(variable: str, file: str, tmp_path: Path) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a checkpoint directory")
    if not (DATA / "refvectors" / file).is_file():
        pytest.skip(f"there is no {file} in {DATA}")
    published = json.loads((DATA / "refvectors" / file).read_text())
    export(os.environ[variable], tmp_path / "out", precision=["fp32"])
    with Embedder.load(tmp_path / "out") as model:
        for item in published.get("items", []):
            assert model.embed([item["text"]], prompt="")[0] @ np.array(item["embedding"]) >= 0.9999, item["text"]
        for item in published.get("partial", []):
            vector = model.embed([item["text"]], prompt="")[0]
            for index, expected in item["at"].items():
                assert vector[int(index)] == pytest.approx(expected, rel=0.01, abs=1e-3), item["text"]
