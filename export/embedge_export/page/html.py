"""``embedge export --report``: one HTML page of what an export gives, with its pictures inside, readable offline."""

import html
from collections.abc import Sequence

import numpy as np
import tokenizers

import embedge
from embedge.engine.cpus import cpu_name
from embedge.engine.ort import onnxruntime
from embedge.manifest import Manifest
from embedge_export.page.diagnose import Diagnosis, VariantDiagnosis

_POOLED = {
    "mean": "; a vector is a mean over tokens, in which errors partly cancel",
    "cls": "; of the last layer over the first tokens only, which become the vectors",
}
_WORST = 10
_LONGEST_SHOWN = 160

_STYLE = """
body { max-width: 60rem; margin: 2.5rem auto 4rem; padding: 0 1.5rem; background: #fff; color: #1f2328;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid #d9dde1; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .4rem 0 .8rem; }
.note { color: #59636e; font-size: .875rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e4e7ea; text-align: left; vertical-align: top; }
th { font-weight: 600; border-bottom-color: #b4b9c0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td[dir] { overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
"""

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>{style}</style>
</head>
<body>
<h1>{name}</h1>
<p class="note">{about}</p>
{summary}
<h2>Cosines</h2>
<p>{cosines}</p>
{histograms}
<h2>Worst texts</h2>
{worst}
{layers}
<h2>Size and speed</h2>
<p>{speed}</p>
{sizes_and_speeds}
{speed_table}
<h2>Operators</h2>
<p>How many nodes of each kind the graphs have.</p>
{operators}
<h2>Measured on</h2>
{conditions}
</body>
</html>
"""

_LAYERS = """<h2>Error of each layer</h2>
<p>{about}</p>
{picture}
{table}"""


def page(manifest: Manifest, diagnosis: Diagnosis) -> str:
    """The page about the bundle of ``manifest``; fp32 is part of it, as the reference, where the bundle has none."""
    from embedge_export.page import plots

    variants = diagnosis.variants
    # fp32 differs from its reference by nothing that a picture could show beside int8.
    shown = [variant for variant in variants if variant.name != "fp32"] or variants
    texts, reference = len(shown[0].distances.texts), _escape(shown[0].distances.reference)
    threads = "one thread" if diagnosis.threads == 1 else f"{diagnosis.threads} threads"
    name = _escape(manifest.source.id)
    return _DOCUMENT.format(
        name=name,
        style=_STYLE,
        about=_escape(_about(manifest)),
        summary=_summary(manifest, variants),
        cosines=f"Of the vectors to those of {reference}, over {texts} texts.",
        histograms=plots.histograms(shown),
        worst="\n".join(f"<h3>{_escape(variant.name)}</h3>\n{_worst(variant)}" for variant in shown),
        layers=_layers(manifest, variants, shown),
        speed=f"On {threads}: medians of rounds in which the variants take turns. The list has "
        f"{variants[0].speed.texts} of the texts that ship with embedge.",
        sizes_and_speeds=plots.sizes_and_speeds(variants),
        speed_table=_speeds(variants),
        operators=_operators(variants),
        conditions=_conditions(diagnosis),
    )


def _summary(manifest: Manifest, variants: Sequence[VariantDiagnosis]) -> str:
    rows = []
    for variant in variants:
        cosines = variant.distances.cosines
        rows.append(
            [
                variant.name,
                f"{cosines.mean():.6f}",
                f"{cosines.min():.6f}",
                f"{variant.distances.reference}, {len(cosines)} texts",
                f"{variant.bytes / 1e6:.1f}",
                f"{variant.speed.texts_per_second:.0f}",
            ]
        )
    notes = []
    if "fp32" not in manifest.variants:
        notes.append("fp32 is the reference; the bundle does not have it.")
    table = _table(["variant", "mean cosine", "min", "to", "MB", "texts/s"], rows, numbers={1, 2, 4, 5})
    return f'{table}\n<p class="note">{_escape(" ".join(notes))}</p>' if notes else table


def _worst(variant: VariantDiagnosis) -> str:
    distances = variant.distances
    order = np.argsort(distances.cosines, kind="stable")[:_WORST]
    rows = []
    for index in order:
        cosine = distances.cosines[index]
        rows.append([f"{cosine:.6f}", f"{max(0.0, 1 - cosine):.1e}", _shorten(distances.texts[index])])
    return _table(["cosine", "1 − cosine", "text"], rows, numbers={0, 1})


def _layers(manifest: Manifest, variants: Sequence[VariantDiagnosis], shown: Sequence[VariantDiagnosis]) -> str:
    """The section about layers; none where the layers are not known, those of traced graphs."""
    from embedge_export.page import plots

    errors = {variant.name: variant.distances.layers for variant in variants if variant.distances.layers is not None}
    if not errors:
        return ""
    rows = [
        ["embeddings" if number == 0 else f"layer {number}", *map(_per_cent, shares)]
        for number, shares in enumerate(zip(*errors.values(), strict=True))
    ]
    names = [f"{variant.name}, to {variant.distances.reference}" for variant in variants if variant.name in errors]
    distances = shown[0].distances
    return _LAYERS.format(
        about=f"|x − r| / |r| over all tokens of {distances.layer_texts} of the texts, where x are the layer’s "
        f"normalised outputs and r those of {_escape(distances.reference)}{_POOLED.get(manifest.pooling, '')}.",
        picture=plots.layer_errors({variant.name: errors[variant.name] for variant in shown}),
        table=_table(["", *names], rows, numbers=set(range(1, len(names) + 1))),
    )


def _operators(variants: Sequence[VariantDiagnosis]) -> str:
    kinds = sorted({kind for variant in variants for kind in variant.operators})
    rows = [[kind, *(str(variant.operators.get(kind, 0)) for variant in variants)] for kind in kinds]
    names = [variant.name for variant in variants]
    return _table(["", *names], rows, numbers=set(range(1, len(names) + 1)))


def _speeds(variants: Sequence[VariantDiagnosis]) -> str:
    rows = []
    for variant in variants:
        single = [f"{1e3 * took:.2f} ms" for took in variant.speed.seconds.values()]
        rows.append([variant.name, *single, f"{variant.speed.texts_per_second:.1f}/s"])
    lengths = [f"a text of {tokens} tokens" for tokens in variants[0].speed.seconds]
    return _table(["variant", *lengths, "a list of texts"], rows, numbers=set(range(1, len(lengths) + 2)))


def _conditions(diagnosis: Diagnosis) -> str:
    counts = ", ".join(f"{len(each.distances.texts)} for {each.name}" for each in diagnosis.variants)
    versions = {"embedge": embedge, "onnxruntime": onnxruntime, "numpy": np, "tokenizers": tokenizers}
    rows = [
        ["texts", f"of many kinds, as ship with embedge, and none that int8 is calibrated on: {counts}"],
        ["CPU", cpu_name()],
        ["threads", str(diagnosis.threads)],
        ["versions", ", ".join(f"{name} {module.__version__}" for name, module in versions.items())],
    ]
    return _table(None, rows, numbers=set())


def _about(manifest: Manifest) -> str:
    source = manifest.source
    parts = [f"{manifest.dimensions} dimensions, {manifest.pooling} pooling, {manifest.max_tokens} tokens"]
    parts += [f"revision {source.revision}"] * bool(source.revision)
    parts += [f"weights sha256 {source.weights_sha256}"] * bool(source.weights_sha256)
    return "; ".join(parts)


def _table(names: Sequence[str] | None, rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    """A table whose columns ``numbers`` are aligned on the right; cells are texts, not HTML."""

    def line(tag: str, cells: Sequence[str]) -> str:
        # Texts are in any language; dir lets the browser see which way each is written.
        kinds = ['class="number"' if column in numbers else 'dir="auto"' for column in range(len(cells))]
        return "".join(f"<{tag} {kind}>{_escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    lines = [line("th", names)] if names else []
    lines += [line("td", row) for row in rows]
    return "<table>\n" + "\n".join(f"<tr>{cells}</tr>" for cells in lines) + "\n</table>"


def _per_cent(share: float) -> str:
    return f"{100 * share:.2f} %" if share >= 1e-4 else f"{100 * share:.1e} %"


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1].rstrip() + "…"


def _escape(text: str) -> str:
    return html.escape(text)
