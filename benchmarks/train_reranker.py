"""``python -m benchmarks.train_reranker OUT``: a trained reranker for :mod:`benchmarks.rerankers`.

Fine-tunes all-MiniLM-L6-v2 with a classifier of one label, by binary cross-entropy on questions of the first half
of XQuAD: each with the paragraph that answers it, one that the embedder takes for an answer, and one at random. Stops
after ``--epochs``, or after ``--minutes`` if they come first. Runs in the environment of ``make parity``.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from benchmarks import datasets, metrics
from benchmarks.checkpoints import minilm
from benchmarks.rerankers import DATA, first_half
from embedge import Embedder
from embedge_export import export

_LONGEST = 128
_BATCH = 24
_LEARNING_RATE = 1e-4
_CLASSIFIER_LEARNING_RATE = 1e-3
_FROZEN_LAYERS = 2
_NEAREST = 20
_WARM_UP = 10
_SCORES_AS_THEY_ARE = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0"}

Example = tuple[str, str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(prog="benchmarks.train_reranker", description="Train a small reranker.")
    parser.add_argument("out", type=Path, help="the directory to make")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIRECTORY", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=20, help="default: %(default)s")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    data = datasets.load(options.data)
    with tempfile.TemporaryDirectory() as place:
        bundle = export(minilm(), Path(place, "bundle"), precision=["fp32"]).path
        with Embedder.load(bundle, variant="fp32") as embedder:
            questions = first_half(data.xquad)
            vectors = embedder.embed(questions.documents), embedder.embed(questions.queries)
    nearest = metrics.nearest(*vectors, _NEAREST)
    model = BertForSequenceClassification.from_pretrained(minilm(), num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(minilm(), model_max_length=_LONGEST)
    batches = []
    for _ in range(options.epochs):
        batches += _batches(list(_examples(questions, nearest, random)), random)
    _train(model, tokenizer, batches, options.minutes)
    model.save_pretrained(options.out)
    shutil.copy(minilm() / "tokenizer.json", options.out)
    config = json.loads((options.out / "config.json").read_text()) | {"sentence_transformers": _SCORES_AS_THEY_ARE}
    (options.out / "config.json").write_text(json.dumps(config, indent=1))


def _examples(data: datasets.Retrieval, nearest: metrics.Indices, random: np.random.Generator) -> Iterator[Example]:
    """Each query with its answers, and with as many near and as many random texts that do not answer it."""
    for query, near, gains in zip(data.queries, nearest.tolist(), data.gains, strict=True):
        for answer in gains:
            hard = int(random.choice([document for document in near if document not in gains]))
            other = int(random.choice([n for n in range(len(data.documents)) if n not in gains]))
            for document in (answer, hard, other):
                yield query, data.documents[document], float(document == answer)


def _batches(examples: Sequence[Example], random: np.random.Generator) -> list[list[Example]]:
    """Examples of about the same length together, the batches in random order."""
    ordered = sorted(examples, key=lambda example: min(len(example[0] + example[1]), 5 * _LONGEST) + random.random())
    batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
    return [batches[number] for number in random.permutation(len(batches))]


def _train(
    model: BertForSequenceClassification, tokenizer: AutoTokenizer, batches: Sequence[list[Example]], minutes: float
) -> None:
    """The learning rate falls with what is used up of the batches or of the time, whichever is more."""
    trained = [model.bert.encoder.layer[_FROZEN_LAYERS:], model.bert.pooler]
    model.requires_grad_(False)
    for part in (*trained, model.classifier):
        part.requires_grad_(True)
    model.train()
    rates = {_LEARNING_RATE: trained, _CLASSIFIER_LEARNING_RATE: [model.classifier]}
    optimizer = torch.optim.AdamW(
        [{"params": [p for part in parts for p in part.parameters()], "lr": rate} for rate, parts in rates.items()]
    )
    start, losses = time.monotonic(), []
    for number, batch in enumerate(batches, 1):
        seconds = time.monotonic() - start
        done = max(number / len(batches), seconds / 60 / minutes)
        if done > 1:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, number / _WARM_UP) * (1 - done)
        queries, texts, labels = zip(*batch, strict=True)
        inputs = tokenizer(queries, texts, truncation="longest_first", padding=True, return_tensors="pt")
        logits = model(**inputs).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if number % 10 == 0:
            print(f"{number}/{len(batches)}: loss {np.mean(losses[-10:]):.4f}, {seconds:.0f} s", flush=True)
    model.eval()


if __name__ == "__main__":
    main()
