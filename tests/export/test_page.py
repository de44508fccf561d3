"""`embedge export --report`: a page that stands alone, whole or not at all."""

import json
import re
import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embedge import Bundle, Embedder, ExportError, FidelityError
from embedge.cli import main
from embedge_export import export, measure, quantize
from embedge_export.checkpoint.weights import load_encoder
from embedge_export.encoder import Head
from embedge_export.page import html
from embedge_export.page.diagnose import Diagnosis, Distances, Speed, VariantDiagnosis
from embedge_export.quantize.calibration import calibration_ids, verification_texts
from embedge_export.reference import layers
from tests.cases import MakeCheckpoint, calibrate_briefly, write_checkpoint


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Where the tests' reports go."""
    return tmp_path / "report.html"


@pytest.fixture(scope="module")
def reported(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a checkpoint ``tiny``, its bundle ``out`` of all variants, and its ``report.html``.

    A channel's LayerNorm weight is 0.
    """
    place = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        calibrate_briefly(patch)
        source = write_checkpoint(place / "tiny", minilm, "mean")
        tensors = load_file(source / "model.safetensors")
        tensors["encoder.layer.0.output.LayerNorm.weight"][3] = 0
        save_file(tensors, source / "model.safetensors")
        export(source, place / "out", precision=["int8", "fp32"], report=place / "report.html")
    return place


def rows_of(page: Path, heading: str, level: int = 2) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = page.read_text(encoding="utf-8").partition(f"<h{level}>{heading}</h{level}>")[2]
    table = below[below.index("<table>") : below.index("</table>")]
    return [re.findall(r"<t[dh] [^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]


# The page


@pytest.mark.parametrize(
    ("precision", "pooling"), [(["int8"], "cls"), (["fp32"], "cls"), (["fp32"], "mean"), (["int8", "fp32"], "mean")]
)
def test_a_report_shows_every_variant(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, page: Path, precision: list[str], pooling: str
) -> None:
    manifest = export(make_checkpoint(pooling=pooling), tmp_path / "out", precision=precision, report=page).manifest
    text = page.read_text(encoding="utf-8")
    summary = {row[0]: row for row in rows_of(page, "tiny", level=1)}
    assert set(summary) == {"variant", "fp32", *manifest.variants}
    assert ("the bundle does not have it" in text) == ("fp32" not in precision)
    for name, variant in manifest.variants.items():
        fidelity = manifest.measured.variants[name].fidelity
        shown = [float(cell) for cell in summary[name][1:3]]
        assert shown == pytest.approx([fidelity.mean_cosine, fidelity.min_cosine], abs=1e-6)
        assert summary[name][3] == f"{fidelity.reference}, {fidelity.texts} texts"
        size = sum(manifest.files[file].bytes for file in variant.files)
        assert summary[name][4] == f"{size / 1e6:.1f}"
    assert [row[0] for row in rows_of(page, "Error of each layer")] == ["", "embeddings", "layer 1", "layer 2"]
    assert {row[0] for row in rows_of(page, "Size and speed")} == set(summary)
    assert text.count("<svg ") == text.count("</svg>") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "out", "report.html"}


def test_a_report_needs_nothing_but_itself(reported: Path) -> None:
    text = (reported / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe|object|embed|base|image)\b|\bsrc\s*=|@import", text)
    assert set(re.findall(r"\bhref=[\"'](.)", text)) == {"#"}
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    assert not re.search(r"=\s*[\"']\s*(https?:)?//", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_a_report_has_the_worst_texts_worst_first(reported: Path) -> None:
    texts, bundle = verification_texts(), Bundle.open(reported / "out")
    with (
        Embedder.start(bundle, measure.choices(bundle, "fp32")[0]) as fp32,
        Embedder.start(bundle, measure.choices(bundle, "int8")[0]) as int8,
    ):
        cosines = measure.cosines(int8.embed(texts), fp32.embed(texts))
    rows = rows_of(reported / "report.html", "int8", level=3)
    assert rows[0] == ["cosine", "1 − cosine", "text"]
    assert [row[0] for row in rows[1:]] == [f"{cosine:.6f}" for cosine in np.sort(cosines)[:10]]
    worst = " ".join(texts[int(cosines.argmin())].split())
    shown = rows[1][2]
    assert shown == escape(worst) or (len(shown) > 100 and escape(worst).startswith(shown[:100]))


def test_texts_are_escaped_and_shortened(reported: Path) -> None:
    texts = ["<script>alert('&')</script>", "long " * 100]
    distances = Distances("fp32", texts, np.array([0.9991, 0.9993]), np.array([0.01, 0.02]), 2)
    variant = VariantDiagnosis("int8", 10**6, {"MatMul": 1}, distances, Speed({8: 0.001}, 100.0, 43))
    text = html.page(Bundle.open(reported / "out").manifest, Diagnosis([variant], threads=1))
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in text
    assert "long long…</td>" in text
    assert len(max(re.findall(r">([^<]*)</td>", text), key=len)) < 200


# The layers' errors


def test_layers_are_compared_before_what_smoothing_changes(reported: Path) -> None:
    """The outputs themselves are far apart, since those of int8 are shifted and smoothed."""
    original = load_encoder(reported / "tiny", json.loads((reported / "tiny" / "config.json").read_text()))
    bundle = Bundle.open(reported / "out")
    tokenizer = measure.model_tokenizer(bundle)
    ids = tokenizer.encode(verification_texts()[:20]).ids
    calibration = calibration_ids(tokenizer, original.vocabulary_size)[::8]
    quantized, _ = quantize.int8(original, Head(("mean",)), calibration)
    fp32 = layers.trace_graph(bundle, measure.choices(bundle, "fp32")[0], original, original)
    int8 = layers.trace_graph(bundle, measure.choices(bundle, "int8")[0], quantized, original)
    assert layers.relative_errors(fp32, [fp32], ids)[0].tolist() == [0, 0, 0]
    (exact,) = layers.relative_errors(layers.trace_equations(original, Head(("mean",))), [fp32], ids)
    assert (exact < 1e-5).all()
    (errors,) = layers.relative_errors(fp32, [int8], ids)
    assert (errors > 1e-4).all()
    assert (errors < 0.05).all()
    folded = layers.trace_graph(bundle, measure.choices(bundle, "int8")[0], original, original)
    assert layers.relative_errors(fp32, [folded], ids)[0][0] > 0.1


def test_a_channel_without_weight_is_left_out(reported: Path) -> None:
    cells = [cell for row in rows_of(reported / "report.html", "Error of each layer")[1:] for cell in row[1:]]
    assert len(cells) == 6
    assert all(re.fullmatch(r"\d\.\d\d %|\d\.\de-\d\d %", cell) for cell in cells)


# Whole or not at all


def test_a_failed_export_leaves_no_report(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(measure.FLOORS, "int8", (1.1, 1.1))
    with pytest.raises(FidelityError):
        export(make_checkpoint(), tmp_path / "out", report=page)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_failed_report_leaves_no_bundle(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> str:
        raise RuntimeError("no picture")

    monkeypatch.setattr(html, "page", fail)
    page.write_text("mine")
    with pytest.raises(RuntimeError, match="no picture"):
        export(make_checkpoint(), tmp_path / "out", report=page, force=True)
    assert page.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "report.html"}


def test_a_file_in_the_way_is_kept_and_told_before_anything_is_read(tmp_path: Path, page: Path) -> None:
    page.write_text("mine")
    with pytest.raises(ExportError, match=r"report\.html exists; give another file or --force"):
        export("nowhere", tmp_path / "out", report=page)
    assert page.read_text() == "mine"


def test_a_file_in_the_way_is_replaced_with_force(make_checkpoint: MakeCheckpoint, tmp_path: Path, page: Path) -> None:
    page.write_text("mine")
    export(make_checkpoint(), tmp_path / "out", report=page, force=True)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("out/report.html", "would lie one in the other"),
        ("out", "would lie one in the other"),
        ("", "would lie one in the other"),
        ("taken", "is not a file"),
        ("none/report.html", "No such file or directory"),
        ("file/report.html", "Not a directory"),
    ],
)
def test_a_place_that_a_report_cant_have_is_told_before_anything_is_read(
    tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=message):
        export("nowhere", tmp_path / "out", report=tmp_path / place, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "file"}


def test_without_matplotlib_the_extra_is_named_before_anything_is_read(
    tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExportError, match=re.escape("pip install 'embedge[report]'")):
        export("nowhere", tmp_path / "out", report=page)
    assert list(tmp_path.iterdir()) == []


# The command


def test_the_command_writes_a_report(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(make_checkpoint()), str(tmp_path / "out"), "--report", str(page)]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(f"{page}: the report\n")
    assert "measuring layers and speed for the page" in err
    assert page.is_file()


def test_matplotlib_is_not_imported_without_a_report() -> None:
    code = "import sys, embedge_export.pipeline; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
