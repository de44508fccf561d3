"""The pictures of an export's report, as SVG to be put into HTML. The only module that imports matplotlib."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from embedge_export.page.diagnose import VariantDiagnosis

_COLOURS = {"fp32": "#8a8f98", "int8": "#0072b2"}
_INK = "#333940"
_STYLE: dict[Any, Any] = {  # rc_context would have each name as a literal
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": "#b4b9c0",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": "#e4e7ea",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "svg.hashsalt": "embedge",
}
_WIDTH = 9.0  # inches, 72 pixels each
_BINS = 40
_TICKS = 8
# A histogram of cosines that are all 1 still needs a width.
_NARROWEST = 1e-6


def histograms(variants: Sequence[VariantDiagnosis]) -> str:
    """How many texts have which cosine to their reference; one row for each variant, with one scale for all."""
    with mpl.rc_context(_STYLE):
        figure = Figure((_WIDTH, 0.5 + 1.45 * len(variants)), layout="constrained")
        rows = figure.subplots(len(variants), sharex=True, squeeze=False)[:, 0]
        width = max(_NARROWEST, *(1 - float(variant.distances.cosines.min()) for variant in variants))
        for axes, variant in zip(rows, variants, strict=True):
            cosines = variant.distances.cosines.clip(max=1)
            axes.hist(cosines, bins=_BINS, range=(1 - width, 1), color=_COLOURS.get(variant.name, _INK))
            axes.set_title(f"{variant.name}: mean {cosines.mean():.6f}, min {cosines.min():.6f}")
            axes.set_ylabel("texts")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.grid(axis="y")
            axes.margins(x=0.01)
        decimals = -math.floor(math.log10(width / _TICKS))  # those of the distance between ticks
        rows[-1].xaxis.set_major_locator(MaxNLocator(_TICKS, steps=[1, 2, 5, 10]))
        rows[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.{decimals}f}"))
        rows[-1].set_xlabel(f"cosine to {variants[0].distances.reference}")
        return _svg(figure, "histogram", "Histogram of cosines")


def layer_errors(errors: Mapping[str, npt.NDArray[np.float64]]) -> str:
    """The relative error of the embeddings and of each layer, in per cent, for each variant by its name."""
    with mpl.rc_context(_STYLE):
        figure = Figure((_WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for name, shares in errors.items():
            axes.plot(100 * shares, "o-", color=_COLOURS.get(name, _INK), markersize=4, label=name)
        count = len(next(iter(errors.values())))
        axes.set_xticks(range(count), ["embeddings", *map(str, range(1, count))])
        axes.set_xlabel("layer")
        axes.set_ylabel("relative error, %")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.legend(loc="upper left")
        return _svg(figure, "layers", "Relative error of each layer")


def sizes_and_speeds(variants: Sequence[VariantDiagnosis]) -> str:
    """Three panels of bars: megabytes, milliseconds for one text of each length, texts a second."""
    lengths = list(variants[0].speed.seconds)
    with mpl.rc_context(_STYLE):
        figure = Figure((_WIDTH, 1.1 + 0.26 * len(variants) * len(lengths)), layout="constrained")
        size, single, many = figure.subplots(1, 3, width_ratios=[3, 4, 3])
        names = [variant.name for variant in variants]
        colours = [_COLOURS.get(name, _INK) for name in names]
        _bars(size, names, [variant.bytes / 1e6 for variant in variants], colours, "{:.1f}")
        size.set_title("graph and weights")
        size.set_xlabel("MB")
        places = [f"{tokens} tokens" for tokens in lengths]
        height = 0.8 / len(variants)
        for number, variant in enumerate(variants):
            offset = (number - (len(variants) - 1) / 2) * height
            milliseconds = [1e3 * variant.speed.seconds[tokens] for tokens in lengths]
            bars = single.barh(
                [place + offset for place in range(len(lengths))], milliseconds, 0.9 * height, color=colours[number]
            )
            single.bar_label(bars, [f"{value:.1f}" for value in milliseconds], padding=3, fontsize=8)
        _finish(single, places)
        single.set_title("one text")
        single.set_xlabel("ms")
        _bars(many, names, [variant.speed.texts_per_second for variant in variants], colours, "{:.0f}")
        many.set_title("a list of texts")
        many.set_xlabel("texts/s")
        return _svg(figure, "speed", "Size and speed of each variant")


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str], form: str) -> None:
    bars = axes.barh(range(len(values)), values, 0.6, color=colours)
    axes.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=8)
    _finish(axes, names)


def _finish(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()  # the first on top
    axes.margins(x=0.2)  # for the labels at the ends of the bars
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x")


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an ``svg`` element that refers to nothing outside itself; its ids begin with ``name``."""
    FigureCanvasSVG(figure)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)  # HTML knows them
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
