"""The handler: one model, loaded when the function starts, and one answer for each event."""

import base64
import json
import math
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.engine.cpus import cpu_budget
from embedge.engine.native import kernels
from embedge.engine.ort import CPU
from embedge.errors import InputError, ProviderError
from embedge.requests import Refused, check_count, find_prompt, split_input
from embedge.serverless.body import Asked, read_fields
from embedge.serverless.events import direct_refusal, http_answer, http_refusal, http_request, read_body
from embedge.tokenizer import Encoded
from embedge.vectors import FloatArray, check_form, encode

# As in the server.
_MOST_TEXTS = 2048
# What Lambda takes from a function as its answer.
_MOST_BYTES = 6_291_556
# At so much memory a function has one CPU in full; with less, a share of it.
_MB_PER_CPU = 1769
# Python, the libraries, and a list of 2048 texts; measured: 125 to 153 MB with bge-small's 34 MB of weights.
_MB_BESIDE_WEIGHTS = 120


class _Answer(NamedTuple):
    body: dict[str, Any]
    truncated: int


class Handler:
    """What Lambda calls with each event; it does one at a time."""

    def __init__(self, model: Embedder) -> None:
        """``model`` stays loaded as long as the function's process lasts."""
        self._model = model
        self._name = model.manifest.source.id

    def __call__(self, event: object, context: object) -> dict[str, Any]:
        """The answer to an event: for an HTTP request its response, for a direct invocation the body of one.

        A request that is refused gets a status and OpenAI's error body, either way. What else goes wrong is reported on
        standard error; an HTTP request gets 500, a direct invocation raises.
        """
        request = http_request(event)
        if request is None:
            try:
                answer = self._answer(read_fields(event))
                _check_size(json.dumps(answer.body))
            except Refused as refused:
                return direct_refusal(refused)
            return {**answer.body, "truncated": answer.truncated}
        try:
            answer = self._answer(read_fields(read_body(request)))
            body = json.dumps(answer.body, separators=(",", ":"))
            _check_size(body)
        except Refused as refused:
            return http_refusal(request, refused)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return http_refusal(request, Refused("failed", "the function failed; its log says why"))
        return http_answer(request, body, headers={"x-embedge-truncated": str(answer.truncated)})

    def _answer(self, asked: Asked) -> _Answer:
        if asked.model not in (None, self._name, self._name.rpartition("/")[2]):
            raise Refused("unknown_model", f"there is no model {asked.model!r} here, but: {self._name}", field="model")
        try:
            size = check_form(asked.dimensions, "float32", self._model.dimensions)
        except ValueError as exc:
            raise Refused("invalid", str(exc), field="dimensions") from exc
        encoded = self._encode(asked)
        manifest = self._model.manifest
        rows = self._model.engine.run(encoded.ids)
        vectors = encode(rows, size, "float32", normalized=manifest.normalized, int8_range=manifest.int8_range)
        shown = map(_base64 if asked.encoding_format == "base64" else _numbers, vectors)
        tokens = sum(map(len, encoded.ids))
        body = {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(shown)],
            "model": self._name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return _Answer(body, len(encoded.truncated))

    def _encode(self, asked: Asked) -> Encoded:
        """Token ids of what is asked for; texts get the prompt in front, and ids the special tokens that they lack."""
        texts, ids = split_input(asked.input, "input")
        check_count(texts or ids, _MOST_TEXTS, "input")
        prompt = find_prompt(self._model, asked.prompt, default="document", field="prompt")
        tokenizer = self._model.tokenizer
        try:
            encoded = tokenizer.complete(ids) if ids else tokenizer.encode(texts, prompt=prompt)
        except InputError as exc:
            # The library calls them texts.
            raise Refused("invalid", str(exc).replace("texts[", "input[", 1), field="input") from exc
        if encoded.truncated and not asked.truncate:
            raise Refused(
                "too_long",
                f"input[{encoded.truncated[0]}] has more than the model's {self._model.max_tokens} tokens: "
                "shorten it, or let it be truncated",
                field="input",
            )
        return encoded


def load_handler(bundle: str | os.PathLike[str]) -> Handler:
    """A handler for the packed bundle at ``bundle``, or for the one that ``$EMBEDGE_MODEL`` names.

    The files of a packed one were hashed when it was packed, and can't be changed since: that is not done again at each
    start, which would be 12 to 33 % longer. Their sizes are checked, and the manifest's seal.

    Raises:
        ProviderError: the function has too little memory for the model, or as for :meth:`embedge.Embedder.load`.
        BundleError: as for that.
    """
    elsewhere = os.environ.get("EMBEDGE_MODEL")
    opened = Bundle.open(elsewhere or Path(bundle))
    choice = choose(opened.manifest.variants, "auto", CPU, capabilities())
    memory = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") or 0)
    if memory:
        _check_memory(opened, choice.variant, memory)
    sealed = opened.ensure_sealed(choice.variant) if elsewhere else None
    problem = kernels().problem
    if problem:
        warnings.warn(problem, stacklevel=2)
    return Handler(Embedder.start(opened, choice, threads=_threads(memory), sealed=sealed))


def _check_memory(bundle: Bundle, variant: str, memory: int) -> None:
    """Raise for a function that would be killed, without a word, with its first list of texts."""
    manifest = bundle.manifest
    weights = manifest.files[manifest.variants[variant].weights].bytes
    needed = _MB_BESIDE_WEIGHTS + weights / 1e6
    if memory < needed:
        raise ProviderError(
            f"the function has {memory} MB of memory, and {manifest.source.id} takes {needed:.0f}: give it "
            f"{64 * math.ceil(needed / 64)} MB or more"
        )


def _threads(memory: int) -> int:
    """One for each whole CPU that the function pays for; the system shows two, of which it may have a tenth.

    Threads that share less than a CPU only wait for each other.
    """
    budget = cpu_budget().threads
    return min(budget, max(1, memory // _MB_PER_CPU)) if memory else budget


def _numbers(row: FloatArray) -> list[float]:
    """The fewest digits that read back as the same float32: as float64 they would have twice as many."""
    return [float(digits) for digits in row.astype(str).tolist()]


def _base64(row: FloatArray) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _check_size(body: str) -> None:
    """Raise `Refused` for more than Lambda hands on. In an HTTP answer each quote takes a backslash."""
    size = len(body) + body.count('"') + 1000  # what stands around the body
    if size > _MOST_BYTES:
        raise Refused(
            "too_large",
            f"the answer has {size} bytes, and Lambda hands on {_MOST_BYTES}: send fewer texts in one request, "
            "or ask for base64 or fewer dimensions",
        )
