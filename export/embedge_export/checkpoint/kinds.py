"""What kind of model a checkpoint is, judged before anything else of it is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_object

Task = Literal["embed", "rerank"]

_HEADS = {
    "ForMaskedLM": "predicts words, as a pretrained language model or SPLADE's sparse vectors do",
    "ForPreTraining": "predicts words",
    "ForCausalLM": "generates text",
    "ForConditionalGeneration": "generates text",
    "LMHeadModel": "generates text",
    "ForTokenClassification": "labels tokens",
    "ForQuestionAnswering": "marks answers",
    "ForMultipleChoice": "chooses among answers",
    "ForNextSentencePrediction": "judges pairs",
}
# Fields of config.json that change vectors, by what they must be.
_REFUSED = {
    "is_decoder": "a decoder is not supported; choose an encoder checkpoint",
    "add_cross_attention": "a decoder is not supported; choose an encoder checkpoint",
    "is_encoder_decoder": "an encoder with a decoder is not supported; choose an encoder checkpoint",
    "pruned_heads": "pruned attention heads are not supported",
    "quantization_config": "weights that are quantized already are not supported; take the checkpoint before that",
}


def read_config(root: Path, encoder: Path) -> dict[str, Any]:
    """``config.json`` of the encoder in the folder ``encoder`` of ``root``.

    Raises:
        CheckpointError: something else lies there; or an adapter, which transformers would apply to the weights.
    """
    for folder in (root, encoder):
        if (folder / "adapter_config.json").exists():
            raise CheckpointError(
                f"{folder} has a PEFT adapter (adapter_config.json): merge it into its base model (merge_and_unload) "
                "and save that"
            )
    if not (encoder / "config.json").exists() and (encoder / "0_StaticEmbedding").exists():
        raise CheckpointError(f"{encoder} holds static word vectors (StaticEmbedding), which need no encoder")
    return read_object(encoder / "config.json")


def find_task(config: Mapping[str, Any], where: Path, *, listed: bool) -> Task:
    """What the model of ``config`` is for.

    ``listed`` says that a ``modules.json`` makes an embedding model of it, which leaves the head of the encoder out.

    Raises:
        CheckpointError: it is for something else, or needs code of its own.
    """
    if config.get("auto_map"):
        raise CheckpointError(
            f"{where}: the model needs code that comes with it (auto_map), which embedge does not run"
        )
    for name, reason in _REFUSED.items():
        if config.get(name):
            raise CheckpointError(f"{where}: {name} is set; {reason}")
    if config.get("model_type") == "model2vec":
        raise CheckpointError(f"{where}: model2vec's static word vectors need no encoder; use its own package")
    architectures = config.get("architectures")
    architecture = "" if listed else str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    head = next((told for end, told in _HEADS.items() if architecture.endswith(end)), None)
    if head:
        raise CheckpointError(
            f"{where}: {architecture} has a head that {head}; embedge writes embedding models and rerankers: use a "
            "checkpoint that was trained as one, or save this encoder with its pooling by sentence-transformers"
        )
    return "rerank" if architecture.endswith("ForSequenceClassification") else "embed"
