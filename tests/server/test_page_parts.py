"""The files of the page, and what its scripts compute, against Python's own."""

import csv
import io
import random
import re
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

import embedge
from embedge import Embedder
from embedge.engine.cpus import cpu_features
from embedge.server import Settings
from tests.cases import ROOT
from tests.server.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILES = sorted((ROOT / "runtime" / "embedge" / "server" / "static").iterdir())


def test_the_page_is_html_that_no_other_page_or_host_has_a_part_in(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<style|<script>|\sstyle=|\son\w+=|https?://", answer.text) == []


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_each_file_is_served_and_asked_for_again_by_its_etag(client: httpx.Client, name: str) -> None:
    kind = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
    answer = client.get(f"/page/{name}")
    assert answer.content == next(path for path in FILES if path.name == name).read_bytes()
    assert answer.headers["content-type"].startswith(kind[name.rpartition(".")[2]])
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/page/{name}", headers={"if-none-match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert client.get(f"/page/{name}", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["other.js", "..%2fapp.py", "%2e%2e/app.py", ""])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/page/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"


def test_the_status_says_what_is_loaded(client: httpx.Client, model: Embedder) -> None:
    status = client.get("/page/status.json").json()
    assert status["version"] == embedge.__version__
    assert status["cpu"]["features"] == cpu_features()
    (loaded,) = status["models"]
    assert loaded["name"] == client.get("/v1/models").json()["data"][0]["id"]
    answer = client.post("/v1/embeddings", json={"input": "a text"})
    assert loaded["fingerprint"] == answer.headers["x-embedge-fingerprint"]
    assert loaded["dimensions"] == len(answer.json()["data"][0]["embedding"])
    assert (loaded["variant"], loaded["max_tokens"]) == (model.variant, model.max_tokens)
    assert loaded["providers"] == ["CPUExecutionProvider"]


def test_the_page_can_be_switched_off(model: Embedder) -> None:
    with serving(model, settings=Settings(page=False)) as url:
        assert [httpx.get(url + path).status_code for path in ("/page/main.js", "/page/status.json")] == [404] * 2
        assert httpx.get(url).status_code == 405  # TEI has POST there
        assert httpx.get(f"{url}/health/live").status_code == 200


def run(page: "Page", script: str, name: str, argument: object) -> Any:
    """What a function of one of the page's scripts returns."""
    code = "([script, name, argument]) => import(`./page/${script}`).then((found) => found[name](argument))"
    return page.evaluate(code, [script, name, argument])


@pytest.mark.page
@pytest.mark.parametrize("dialect", [{}, {"delimiter": ";"}, {"delimiter": "\t"}])
def test_tables_are_read_as_python_reads_them(page: "Page", dialect: dict[str, str]) -> None:
    chance = random.Random(7)
    for _ in range(50):
        rows = [
            ["".join(chance.choices('ab "\n,;\t\r', k=chance.randrange(9))) for _ in range(3)]
            for _ in range(chance.randrange(1, 5))
        ]
        text = io.StringIO()
        csv.writer(text, **dialect).writerows([["first", "second", "third"], *rows])  # type: ignore[arg-type]
        assert run(page, "csv.js", "parseCsv", text.getvalue()) == [["first", "second", "third"], *rows]


@pytest.mark.page
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n\n1,2\n", [["a", "b"], ["1", "2"]]),
        ("a;b,c;d\r\n", [["a", "b,c", "d"]]),
        ('"a,b";c', [["a,b", "c"]]),
        ("one\ntwo\n", [["one"], ["two"]]),
        ("a;b\r1,5;2\r\r", [["a", "b"], ["1,5", "2"]]),
        ('5" pipe,x', [['5" pipe', "x"]]),
        ("", []),
    ],
)
def test_tables_as_people_write_them_are_read(page: "Page", text: str, rows: list[list[str]]) -> None:
    assert run(page, "csv.js", "parseCsv", text) == rows


@pytest.mark.page
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_each_measure_is_the_librarys(page: "Page", measure: Any) -> None:
    one, other = np.random.default_rng(3).normal(size=(2, 384)).astype(np.float32)
    code = "([name, a, b]) => import('./page/measures.js').then(({ MEASURES }) => MEASURES[name](a, b))"
    found = page.evaluate(code, [measure, one.tolist(), other.tolist()])
    assert np.isclose(found, embedge.similarity(one, other, measure=measure)[0, 0], rtol=1e-5, atol=1e-6)
    if measure == "cosine":
        assert page.evaluate(code, [measure, [0, 0], [1, 0]]) == 0


@pytest.mark.page
def test_metrics_are_read_with_their_labels(page: "Page", client: httpx.Client) -> None:
    text = client.get("/metrics").text + 'odd{a="x,\\"}\\n",b=""} 2.5e-3\nplain 7\n'
    samples = {sample["name"]: sample for sample in run(page, "prometheus.js", "parseMetrics", text)}
    assert samples["odd"] == {"name": "odd", "labels": {"a": 'x,"}\n', "b": ""}, "value": 0.0025}
    assert samples["plain"] == {"name": "plain", "labels": {}, "value": 7}
    assert samples["embedge_model_info"]["labels"]["version"] == embedge.__version__


@pytest.mark.page
def test_quantiles_are_those_of_what_came_between_two_readings(page: "Page") -> None:
    code = """([q, before, after]) => import('./page/prometheus.js').then(({ quantile }) => {
      const read = (counts) => new Map(counts.map(([bound, count]) => [bound ?? Infinity, count]));
      return quantile(q, read(before), read(after));
    })"""

    def quantile(q: float, before: list[int], after: list[int]) -> float | None:
        bounds = [0.1, 0.2, 0.4, None]
        found: float | None = page.evaluate(
            code, [q, list(zip(bounds, before, strict=True)), list(zip(bounds, after, strict=True))]
        )
        return found

    assert quantile(0.5, [5, 5, 5, 5], [5, 5, 5, 5]) is None
    assert quantile(0.5, [9, 9, 9, 9], [9, 19, 19, 19]) == pytest.approx(0.15)
    assert quantile(0.5, [0, 0, 0, 0], [10, 10, 10, 10]) == pytest.approx(0.05)
    assert quantile(0.99, [0, 0, 0, 0], [0, 0, 0, 3]) == 0.4  # beyond the last bound
