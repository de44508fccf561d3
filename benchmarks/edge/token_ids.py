"""Where tokenizers for other languages give other token ids than Hugging Face's, which embedge runs.

``python -m benchmarks.edge.token_ids BUNDLE`` compares 10,000 strings and writes ``benchmarks/results/token-ids.json``.
It needs Node.js and npm, and installs what it compares under ``.bench/edge``.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.edge.node_packages import node_packages
from benchmarks.edge.strings import strings
from benchmarks.speed.environments import BENCH, run
from benchmarks.speed.tables import markdown
from embedge.bundle import Bundle
from embedge.engine.ort import CPU, onnxruntime
from embedge.manifest import TOKENIZER, TokenizerFacts
from embedge.tokenizer import Tokenizer
from embedge_export.graph.builder import GraphBuilder
from embedge_export.targets.tokenization import add_tokenizer
from embedge_export.targets.words import read_words

RESULTS = Path(__file__).parents[1] / "results" / "token-ids.json"
EXTENSIONS = "onnxruntime-extensions==0.15.2"
_EACH = 1000
_OPSETS = {"": 21, "com.microsoft": 1, "ai.onnx.ml": 4, "ai.onnx.contrib": 1}

Encode = Callable[[str], list[int]]


def main() -> None:
    """Compare, and write."""
    bundle = Bundle.open(sys.argv[1])
    found = strings(_EACH)
    facts = bundle.manifest.tokenizer
    tokenizer = Tokenizer(bundle.file(TOKENIZER), bundle.manifest.max_tokens, facts)
    expected = {kind: tokenizer.encode(texts).ids for kind, texts in found.items()}
    extensions, path = _extensions(bundle)
    compared = {
        "graph": encoder(tokenizer_model(bundle.file(TOKENIZER).read_bytes(), facts, bundle.manifest.max_tokens)),
        "extensions": encoder(extensions, path),
    }
    ids = {name: {kind: list(map(encode, texts)) for kind, texts in found.items()} for name, encode in compared.items()}
    ids["javascript"] = _javascript(bundle, found)
    # The others truncate otherwise, or not.
    most, after = bundle.manifest.max_tokens, len(facts.after)
    differing = {
        name: {
            kind: sum(
                [*one[: most - after], *one[-after:]] != text if len(one) > most else one != text
                for one, text in zip(of[kind], expected[kind], strict=True)
            )
            for kind in found
        }
        for name, of in ids.items()
    }
    results = {"strings": {kind: len(texts) for kind, texts in found.items()}, "differing": differing}
    results["versions"] = {"extensions": EXTENSIONS, "javascript": node_packages().versions["@huggingface/tokenizers"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """Markdown: how many strings of each kind get other ids."""
    differing, sizes = results["differing"], results["strings"]
    rows = [[kind, *(f"{of[kind]:,}" for of in differing.values())] for kind in sizes]
    rows.append([f"all {sum(sizes.values()):,}", *(f"{sum(of.values()):,}" for of in differing.values())])
    header = ["strings", "the file that `embedge convert` writes", "onnxruntime-extensions", "@huggingface/tokenizers"]
    return markdown([header, *rows])


def tokenizer_model(tokenizer: bytes, facts: TokenizerFacts, max_tokens: int) -> onnx.ModelProto:
    """The tokenizer of :func:`embedge_export.convert` by itself: ``text`` ``(1,)`` -> ``input_ids`` ``(1, tokens)``."""
    g = GraphBuilder(0)
    add_tokenizer(g, "text", read_words(tokenizer), facts, max_tokens)
    return _model(g.nodes, [numpy_helper.from_array(value, name) for name, value in g.constants.items()])


def _extensions(bundle: Bundle) -> tuple[onnx.ModelProto, Path]:
    """The tokenizer of onnxruntime-extensions, and its library."""
    place = BENCH / "edge" / EXTENSIONS
    if not place.is_dir():
        run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, EXTENSIONS])
    vocabulary = json.loads(bundle.file(TOKENIZER).read_bytes())["model"]["vocab"]
    node = helper.make_node(
        "BertTokenizer",
        ["text"],
        ["input_ids", "token_type_ids", "attention_mask"],
        domain="ai.onnx.contrib",
        vocab_file="\n".join(sorted(vocabulary, key=vocabulary.__getitem__)),
        do_lower_case=1,
        strip_accents=1,
        tokenize_chinese_chars=1,
    )
    (library,) = place.glob("onnxruntime_extensions/_extensions_pydll*.so")
    return _model([node], []), library


def _model(nodes: Sequence[onnx.NodeProto], constants: Sequence[TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tokenizer",
        [helper.make_tensor_value_info("text", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, None)],
        constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def encoder(model: onnx.ModelProto, library: Path | None = None) -> Encode:
    """What gives the ids of a text by ``model``; ``library`` has operators that it needs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if library:
        options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])

    def encode(text: str) -> list[int]:
        (ids,) = session.run(["input_ids"], {"text": np.array([text], object)})
        found: list[int] = ids.reshape(-1).tolist()
        return found

    return encode


def _javascript(bundle: Bundle, texts: dict[str, list[str]]) -> dict[str, list[list[int]]]:
    """The ids of ``@huggingface/tokenizers``."""
    packages = node_packages()
    script = packages.place / "token_ids.mjs"
    script.write_bytes(Path(__file__).with_suffix(".mjs").read_bytes())
    done = subprocess.run(
        ["node", script, bundle.file(TOKENIZER)], input=json.dumps(texts), stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, list[list[int]]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
