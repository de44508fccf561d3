"""The vectors against Hugging Face's own: `make parity` has torch, transformers and optimum, and runs these tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Embedder
from embedge_export import export
from tests.cases import MakeCheckpoint

pytestmark = pytest.mark.parity

# transformers and torch warn of their own future; that is not ours to mend.
quiet = pytest.mark.filterwarnings("ignore")


@quiet
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_minilm_fp32_is_hugging_faces(minilm: Path, tmp_path: Path, passages: list[str], pooling: str) -> None:
    long = [" ".join(passages[start : start + 12]) for start in range(0, 48, 12)]
    assert_same_vectors(minilm, tmp_path, [*passages, *long, "", "edge"], pooling)


@quiet
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"layer_norm_eps": 1e-5, "num_attention_heads": 2, "num_hidden_layers": 3},
        {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 200, "max_position_embeddings": 64},
    ],
    ids=str,
)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_random_berts_fp32_are_hugging_faces(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str], changes: dict[str, Any], pooling: str
) -> None:
    assert_same_vectors(make_checkpoint(pooling=pooling, **changes), tmp_path, passages[:40], pooling)


@quiet
def test_optimums_own_export_gives_the_same_vectors(minilm: Path, tmp_path: Path, passages: list[str]) -> None:
    from optimum.onnxruntime import ORTModelForFeatureExtraction

    optimum = ORTModelForFeatureExtraction.from_pretrained(minilm, export=True)
    export(minilm, tmp_path / "out", precision=["fp32"])
    with Embedder.load(tmp_path / "out") as model:
        for text, vector in zip(passages[:20], model.embed(passages[:20]), strict=True):
            states = optimum(**hugging_face_inputs(minilm, text, 256, "np")).last_hidden_state
            assert cosine(states[0].mean(axis=0), vector) >= 0.999999


def assert_same_vectors(checkpoint: Path, tmp_path: Path, texts: list[str], pooling: Any) -> None:
    """The fp32 bundle of ``checkpoint`` gives BertModel's pooled states for every text."""
    import torch
    from transformers import BertModel

    report = export(checkpoint, tmp_path / "bundle", precision=["fp32"], pooling=pooling)
    reference = BertModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    with Embedder.load(report.path) as model, torch.no_grad():
        vectors = model.embed(texts)
        for text, vector in zip(texts, vectors, strict=True):
            inputs = hugging_face_inputs(checkpoint, text, report.manifest.max_tokens, "pt")
            states = reference(**inputs).last_hidden_state[0].numpy()
            expected = states[0] if pooling == "cls" else states.mean(axis=0)
            assert cosine(expected, vector) >= 0.999999, text


def hugging_face_inputs(checkpoint: Path, text: str, max_tokens: int, tensors: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return tokenizer(text, truncation=True, padding=False, max_length=max_tokens, return_tensors=tensors)


def cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
