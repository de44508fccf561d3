"""What the README and the pages of docs/ say to type works; what they link to exists.

Commands run in this process; a server has one of its own, until the next one or the end of the page. ``pip`` and
``make`` lines are only compared with pyproject.toml and the Makefile. A hub id is exported for real, but for its
download: a small checkpoint on this machine takes its place.
"""

import contextlib
import importlib.util
import itertools
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import embedge
import embedge_export
from docs import commands
from embedge import Embedder, Reranker, store
from embedge.cli import main
from tests import random_encoders
from tests.cases import ROOT, MakeCheckpoint
from tests.layouts import write_reranker, write_trained_reranker
from tests.server.conftest import serving
from tests.server.running import serve

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
}
SERVER = "http://127.0.0.1:8080"
HUB_ID = "BAAI/bge-small-en"
RERANKER_ID = "cross-encoder/ms-marco-MiniLM-L6-v2"


def blocks(page: str, language: str) -> list[str]:
    """The code of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)


def shell(page: str) -> list[str]:
    """The commands of a page, without comments."""
    lines = (line.partition("#")[0].strip() for block in blocks(page, "sh") for line in block.splitlines())
    return [line for line in lines if line]


def command_lines(page: str) -> list[str]:
    """Those of embedge that need no torch, and those that ask its server."""
    return [line for line in shell(page) if line.startswith(("embedge ", "curl ")) and "path/to/mpnet" not in line]


SHELL = [line for page in PAGES for line in shell(page)]


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader in a fresh checkout, with an empty store."""
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "passages.txt", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EMBEDGE_MODEL", raising=False)
    return tmp_path


@pytest.fixture
def hub(make_checkpoint: MakeCheckpoint, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hub id is a small checkpoint, whose hash nobody has published."""
    source = make_checkpoint("downloaded")

    def fetch(name: str, *_: object) -> tuple[Path, str]:
        # Random encoders tell texts apart so little that int8 of a reranker would be refused.
        trained = name == RERANKER_ID
        return (write_trained_reranker(minilm, tmp_path / "reranker") if trained else source), "0" * 40

    monkeypatch.setattr("embedge_export.checkpoint.sources.fetch", fetch)
    monkeypatch.setattr("embedge_export.checkpoint.sources.known_models", list)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)])
def test_the_commands_of_a_page_run(page: str, newcomer: Path, make_checkpoint: MakeCheckpoint) -> None:
    """One after the other, in one place; a page that does not export the model itself assumes that another did."""
    make_checkpoint("path/to/checkpoint")
    lines = command_lines(page)
    if lines[0] != f"embedge export {HUB_ID}":
        assert main(["export", HUB_ID]) == 0
    if any("path/to/bundle" in line for line in lines):
        assert main(["export", "path/to/checkpoint", "path/to/bundle"]) == 0
    (newcomer / "keys.txt").write_text("a-key\n")
    with contextlib.ExitStack() as stack:
        url = ""
        for line in lines:
            if line.startswith("curl "):
                ask(line.replace("http://127.0.0.1:8080", url))
            elif line.startswith("embedge serve"):
                stack.close()
                url = stack.enter_context(serve(*shlex.split(line)[2:])).url
            else:
                assert main(shlex.split(line)[1:]) == 0, line


def ask(line: str) -> None:
    """Run a line that asks a server, where there is curl."""
    if shutil.which("curl"):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), f"{line}: {done.stderr}"


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
def test_the_export_of_another_encoder_runs(newcomer: Path, passages: list[str]) -> None:
    random_encoders.write(newcomer / "path" / "to" / "mpnet", "mpnet", passages)
    traced = [line for line in SHELL if line.startswith("embedge export path/to/mpnet")]
    assert traced
    for line in traced:
        assert main(shlex.split(line)[1:]) == 0


@pytest.fixture
def exported(newcomer: Path, bundle: Path) -> Path:
    """The working directory of a reader who has exported the model, which is a trained one here."""
    place = store.place(HUB_ID)
    place.parent.mkdir(parents=True)
    shutil.copytree(bundle, place)
    return newcomer


def is_installed(block: str) -> bool:
    """Whether all packages that a block imports are there; `make clients` runs those of other people's clients."""
    names = re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE)
    return all(importlib.util.find_spec(name) for name in names)


def run_python(page: str, directory: Path, server: str = SERVER) -> str:
    """Run the Python of a page as one program, with the address of a server; returns what it prints."""
    code = "\n".join(filter(is_installed, blocks(page, "python"))).replace(SERVER, server)
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_of_a_page_runs(page: str, exported: Path, make_checkpoint: MakeCheckpoint) -> None:
    make_checkpoint("path/to/checkpoint")
    if "erank" in PAGES[page]:
        source = write_reranker(make_checkpoint("reranker"))
        embedge_export.export(source, store.place(RERANKER_ID), precision="fp32")
    if SERVER not in "".join(blocks(page, "python")):
        assert run_python(page, exported)
        return
    with Embedder.load(HUB_ID) as model, Reranker.load(RERANKER_ID) as reranker, serving(model, reranker) as address:
        assert run_python(page, exported, address)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_example_finds_the_passage_about_the_edge(page: str, exported: Path) -> None:
    edge, bread = (float(number) for number in run_python(page, exported).strip("[] \n").split())
    assert edge > bread


def new_calls() -> list[str]:
    """The code in the second column of the tables for those who come from other libraries."""
    rows = re.findall(r"^\|(.*?[^\\])\|(.*?[^\\])\|", PAGES["docs/migrating.md"], re.MULTILINE)
    return sorted({code for _, new in rows for code in re.findall(r"`([^`]+)`", new)})


def test_the_calls_that_replace_those_of_other_libraries_run(exported: Path, make_checkpoint: MakeCheckpoint) -> None:
    assert len(new_calls()) > 15
    embedge_export.export(write_reranker(make_checkpoint()), store.place(RERANKER_ID), precision="fp32")
    with Embedder.load(HUB_ID) as model, Reranker.load(RERANKER_ID) as reranker:
        names = {
            "Embedder": Embedder,
            "Reranker": Reranker,
            "name": RERANKER_ID,
            "reranker": reranker,
            "embedge": embedge,
            "model": model,
            "texts": ["Bread rises.", "Ferries cross the harbour."],
            "queries": ["why does bread rise?", "who crosses?"],
            "query": "why does bread rise?",
            "pairs": [("why does bread rise?", "Bread rises.")],
            "a": model.embed(["Bread rises."]),
            "b": model.embed(["Ferries cross."]),
        }
        for code in new_calls():
            assert eval(code, dict(names)) is not None, code


def test_vectors_without_the_query_prompt_are_those_of_libraries_that_add_none(model: Embedder) -> None:
    query = "what runs at the edge?"
    assert np.array_equal(model.embed([query], prompt="")[0], model.embed_query(query))  # MiniLM has no prompts


def test_the_page_of_commands_is_the_parsers() -> None:
    assert PAGES["docs/cli.md"] == commands.page(), "run `make docs`, or `python docs/commands.py`"


@pytest.mark.parametrize("package", [embedge, embedge_export])
def test_every_public_name_is_on_the_page_of_the_api(package: object) -> None:
    names = [f"{package.__name__}.{name}" for name in package.__all__ if not name.startswith("_")]  # type: ignore[attr-defined]
    missing = [name for name in names if not re.search(rf":: {re.escape(name)}$", PAGES["docs/api.md"], re.MULTILINE)]
    assert not missing


def test_every_make_target_exists_and_is_documented() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documented = set(re.findall(r"^(?:.*`)?make ([a-z-]+)", "\n".join(PAGES.values()), re.MULTILINE))
    assert documented <= targets
    assert targets - {"clean"} <= documented


def test_the_extras_that_pip_lines_name_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in SHELL if line.startswith("pip install") and "." in line]
    named = {extra for line in lines for found in re.findall(r"\[([\w,]+)\]", line) for extra in found.split(",")}
    assert named == set(project["optional-dependencies"])


def test_every_dependency_is_listed_with_its_reason_and_its_floor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    rows = [line for line in PAGES["docs/install.md"].splitlines() if line.startswith("| ")]
    for name, floor in re.findall(r"^([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", "\n".join(needed), re.MULTILINE):
        assert name in PAGES["README.md"]
        assert any(re.search(rf"(^\| |, ){name}[, ].*\b{re.escape(floor)}", row) for row in rows), f"{name} {floor}"


def test_ci_runs_commands_that_are_documented() -> None:
    lines = re.findall(r"^make [\w-]+$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"make check", "make test", "make docs", "make parity", "make quality", "make isa"} <= set(lines)
    assert set(lines) <= set(SHELL)


def links(page: str) -> list[str]:
    """Where a page leads to in the checkout."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if not link.startswith(("http", "mailto"))]


def anchors(page: str) -> set[str]:
    """The places in a page that can be linked to."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("page", "link"), [(page, link) for page in PAGES for link in dict.fromkeys(links(page))])
def test_every_link_leads_somewhere(page: str, link: str) -> None:
    name, _, anchor = link.partition("#")
    target = (ROOT / page).parent / name if name else ROOT / page
    assert target.exists()
    if anchor:
        assert anchor in anchors(target.resolve().relative_to(ROOT).as_posix())


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_demo_ends_quietly_on_ctrl_c(newcomer: Path) -> None:
    """Once it runs: until Python has read the file, Python itself reports the interrupt."""
    command = [sys.executable, "-u", str(ROOT / "examples" / "demo.py")]
    with subprocess.Popen(command, cwd=newcomer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        assert demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert not list(newcomer.glob("models/*"))
