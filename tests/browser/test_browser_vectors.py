"""embedge.js in a browser: the library's vectors."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import embedge.engine
from embedge import Embedder
from tests.browser.conftest import Build, tab
from tests.cases import start_form
from tests.damage import reseal

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.page

PROBE = Path(embedge.engine.__file__).with_name("probe.onnx")
SHORT = [
    "",
    " ",
    "a",
    "bread",
    "why?",
    "[MASK]",
    "hello world",
    "東京の夜は静かだ",
    "Öland, 6:30",
    "🍞🍞",
    "ΟΔΟΣ",
    "a\0b",
]
EMBED = """async ([options, texts]) => {
    const { Embedder } = await import("./embedge.js");
    const model = await Embedder.load("bundle/", options);
    const list = await model.embed(texts);
    const alone = [];
    for (const text of texts.slice(0, 12)) alone.push(...(await model.embed([text])));
    const query = await model.embedQuery(texts[0]);
    const cosine = await model.verify();
    const { variant, threads, manifest } = model;
    model.close();
    const plain = (rows) => rows.map((row) => Array.from(row));
    const numbers = { list: plain(list), alone: plain(alone), query: Array.from(query) };
    return { variant, threads, cosine, maxTokens: manifest.max_tokens, ...numbers };
}"""


def in_browser(browser: "Browser", place: Path, texts: list[str], **options: int) -> dict[str, Any]:
    with tab(browser, place) as (page, told):
        found: dict[str, Any] = page.evaluate(EMBED, [options, texts])
        assert [warning for warning in told if "texts had more than" in warning] == [
            f"1 of {len(texts)} texts had more than {found['maxTokens']} tokens, and were cut"
        ]
        return found


def cosines(a: Any, b: Any) -> npt.NDArray[np.float64]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    found: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


@pytest.fixture(scope="module")
def texts(passages: list[str]) -> list[str]:
    """100, most of them short."""
    return [*SHORT, *passages[:20], *(" ".join(text.split()[:8]) for text in passages[20:87]), "long " * 600]


def test_int8_vectors_are_as_near_to_the_librarys_as_those_of_another_cpu(
    browser: "Browser", minilm_page: Path, bundle: Path, texts: list[str]
) -> None:
    with start_form(bundle, "unsigned") as model, pytest.warns(UserWarning, match="1 text was truncated"):
        expected = model.embed(texts)
    found = in_browser(browser, minilm_page, texts, threads=1)
    assert (found["variant"], found["threads"]) == ("int8", 1)
    near = cosines(found["list"], expected)
    assert near.mean() > 0.9998
    assert near.min() > 0.999
    assert found["cosine"] > 0.9995
    assert found["alone"] == found["list"][:12]


def test_fp32_vectors_are_the_librarys(
    browser: "Browser", build: Build, copy: Path, tiny: Path, texts: list[str]
) -> None:
    """With a query prompt, and on several threads."""
    reseal(copy, lambda fields: fields["variants"].pop("int8"))
    with Embedder.load(tiny, variant="fp32") as model, pytest.warns(UserWarning, match="1 text was truncated"):
        expected, query = model.embed(texts), model.embed_query(texts[0])
    found = in_browser(browser, build(copy), texts, threads=2)
    assert (found["variant"], found["threads"]) == ("fp32", min(2, found["threads"]))
    assert cosines(found["list"], expected).min() > 0.999999
    assert cosines([found["query"]], [query]).min() > 0.999999


def test_webassembly_multiplies_unsigned_by_signed_numbers_exactly(browser: "Browser", tiny_page: Path) -> None:
    """Which the page takes for granted when it chooses a graph."""
    probe = """async (bytes) => {
        const ort = await import("./vendor/ort.wasm.min.mjs");
        const session = await ort.InferenceSession.create(new Uint8Array(bytes));
        const exact = async (rows) => {
            const x = new ort.Tensor("uint8", new Uint8Array(rows * 64).fill(255), [rows, 64]);
            return (await session.run({ x })).y.data.every((sum) => sum === 64 * 255 * 127);
        };
        return (await exact(1)) && (await exact(7));
    }"""
    with tab(browser, tiny_page) as (page, _):
        assert page.evaluate(probe, list(PROBE.read_bytes()))


REFUSED = {
    "model.embed(['a', '\\ud83c'])": r"texts\[1\] has half of a surrogate pair",
    "model.embed(['a', 7])": r"texts\[1\] is not a string but number",
    "model.embed('a')": "texts is an array of strings; embedQuery takes one string",
    "model.embed(['a'], { prompt: 7 })": "prompt is not a string but number",
    "model.embedQuery(undefined)": r"texts\[0\] is not a string but undefined",
    "Embedder.load('http://localhost:1/bundle/')": "is of another origin; put the bundle beside the page",
    "Embedder.load('bundle/', { threads: 0 })": "threads is 0; it takes a whole number from 1 on",
    "similarity([1, 2], [1], 'dot')": "vectors of 2 and 1 dimensions can't be compared",
    "similarity([1], [1], 'sine')": "measure is sine; it is cosine, dot, euclidean or manhattan",
    "(model.close(), model.embed(['a']))": "this Embedder is closed; load it again",
}


def test_what_cannot_be_done_is_refused_with_the_reason(browser: "Browser", tiny_page: Path) -> None:
    attempt = """async (calls) => {
        const { Embedder, similarity } = await import("./embedge.js");
        const model = await Embedder.load("bundle?x#y");
        const names = "model, Embedder, similarity";
        const attempt = async (call) => {
            try {
                return `was done: ${await new Function(names, `return ${call}`)(model, Embedder, similarity)}`;
            } catch (error) {
                return error.message;
            }
        };
        const found = [];
        for (const call of calls) found.push(await attempt(call));
        return found;
    }"""
    with tab(browser, tiny_page) as (page, _):
        for message, expected in zip(page.evaluate(attempt, list(REFUSED)), REFUSED.values(), strict=True):
            assert re.search(expected, message)


def test_a_signal_stops_a_call_and_nothing_after_it(browser: "Browser", tiny_page: Path) -> None:
    stop = """async () => {
        const { Embedder } = await import("./embedge.js");
        const model = await Embedder.load("bundle/");
        const told = [];
        const { postMessage } = model.worker;
        model.worker.postMessage = (message) => { told.push(message.method); postMessage.call(model.worker, message); };
        const late = new AbortController();
        await model.embed(["a"], { signal: late.signal });
        late.abort();
        const early = new AbortController();
        const onProgress = () => early.abort();
        const texts = Array.from({ length: 50 }, (_, count) => "a ".repeat(count));
        const found = await model.embed(texts, { signal: early.signal, onProgress }).catch((error) => error.name);
        const after = await model.embed(["a"]);
        return [told, found, after.length];
    }"""
    with tab(browser, tiny_page) as (page, _):
        assert page.evaluate(stop) == [["embed", "embed", "stop", "embed"], "AbortError", 1]


def test_a_browser_that_keeps_nothing_still_loads_a_bundle(browser: "Browser", tiny_page: Path) -> None:
    """As in some private windows, and where its reader forbids pages to keep anything."""
    read = """async () => {
        CacheStorage.prototype.open = () => Promise.reject(new DOMException("not here", "SecurityError"));
        const { Bundle } = await import("./bundle.js");
        const bundle = await Bundle.open(new URL("bundle/", location));
        const { length } = await bundle.read("tokenizer.json");
        return [length, await bundle.finish(["tokenizer.json"])];
    }"""
    with tab(browser, tiny_page) as (page, _):
        assert page.evaluate(read) == [(tiny_page / "bundle" / "tokenizer.json").stat().st_size, False]


def test_a_kept_bundle_outlives_a_server_that_is_down(browser: "Browser", tiny_page: Path) -> None:
    read = """async () => {
        const { Bundle } = await import("./bundle.js");
        const place = new URL("bundle/", location);
        const names = ["tokenizer.json", "model.int8.onnx"];
        const first = await Bundle.open(place);
        for (const name of names) await first.read(name);
        const kept = await first.finish(names);
        globalThis.fetch = () => Promise.resolve(new Response("", { status: 503 }));
        const second = await Bundle.open(place);
        for (const name of names) await second.read(name);
        const another = await Bundle.open(new URL("other/", location)).catch((error) => error.message);
        return [kept, another.replace(/.*other/, "")];
    }"""
    with tab(browser, tiny_page) as (page, _):
        assert page.evaluate(read) == [True, "/manifest.json is not there: the server answered 503."]
