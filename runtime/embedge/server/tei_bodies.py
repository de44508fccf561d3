"""What Text Embeddings Inference's routes take and answer."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from embedge.server.service import Detail, Input

Direction = Literal["Left", "Right", "left", "right"]
_MODEL = Meta(description="Not in TEI. May be left out where one model can do this.")
_TRUNCATE = Meta(description="False refuses a text that is too long, instead of cutting it. Default: true.")
_DIRECTION = Meta(description="The end that a text loses. Default: the one that the model is made for, mostly right.")
_PROMPT = Meta(description="A name of the model's prompts, or `none`. Default: the model's default prompt, if any.")


class TEIError(TypedDict):
    """An error of TEI's routes."""

    error: str
    error_type: str


class EmbedRequest(msgspec.Struct):
    """What ``POST /embed`` takes."""

    inputs: Annotated[
        Input, Meta(description="A text, texts, token ids of the model's own tokenizer, or lists of them.")
    ]
    normalize: Annotated[
        bool, Meta(description="Whether vectors get length 1. False is refused by models whose vectors always have it.")
    ] = True
    truncate: Annotated[bool | None, _TRUNCATE] = None
    truncation_direction: Annotated[Direction | None, _DIRECTION] = None
    prompt_name: Annotated[str | None, _PROMPT] = None
    dimensions: Annotated[int | None, Meta(description="Keep the first ones only. Default: all.")] = None
    model: Annotated[str | None, _MODEL] = None
    details: Annotated[
        bool, Meta(description="Not in TEI. True answers with `embeddings` and `details` in an object.")
    ] = False


class DetailedVectors(TypedDict):
    """What ``/embed`` answers with ``details``."""

    embeddings: list[list[float]]
    details: list[Detail]


class TokenizeRequest(msgspec.Struct):
    """What ``POST /tokenize`` takes."""

    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: Annotated[str | None, _PROMPT] = None
    model: Annotated[str | None, _MODEL] = None


class SimpleToken(TypedDict):
    """A token; ``start`` and ``stop`` are offsets in bytes of UTF-8, prompt included, ``null`` for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class RerankRequest(msgspec.Struct):
    """What ``POST /rerank`` takes."""

    query: str
    texts: list[str]
    raw_scores: Annotated[bool, Meta(description="Whether scores are logits, instead of between 0 and 1.")] = False
    return_text: bool = False
    truncate: Annotated[bool | None, _TRUNCATE] = None
    truncation_direction: Annotated[Direction | None, _DIRECTION] = None
    model: Annotated[str | None, _MODEL] = None


class Rank(TypedDict):
    """A text and its score; the best comes first."""

    index: int
    text: NotRequired[str]
    score: float


class ModelInfo(TypedDict):
    """A model that is served."""

    name: str
    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, dict[str, Any]]
    max_input_length: int
    dimensions: int
    prompts: dict[str, str]
    variant: str
    fingerprint: Annotated[str, Meta(description="Vectors may be compared where it is the same.")]
    kernels: Annotated[str | None, Meta(description="What embedge-kernels runs it by; null where ONNX Runtime's do.")]


class Info(TypedDict):
    """What TEI says of itself, of the first model; ``models`` has all."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict[str, Any]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    variant: str
    fingerprint: str
    models: list[ModelInfo]
