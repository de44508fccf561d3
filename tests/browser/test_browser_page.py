"""The page of examples/browser: search, no network, damage, keyboard, contrast."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.edge.static_site import Site, hosting
from embedge import Embedder
from tests.browser.conftest import opened
from tests.damage import sealed_bytes

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.page

QUERY = "how do I get my money back?"


def wait_until_loaded(page: "Page") -> None:
    expect(page.locator("#facts")).to_be_visible()
    expect(page.locator(".error:visible")).to_have_count(0)


def search(page: "Page", query: str) -> list[tuple[float, str]]:
    """Embed the passages, type a query; returns scores and passages as they are shown."""
    page.get_by_role("button", name=re.compile("^Embed")).click()
    expect(page.locator("#embed-status")).to_contain_text(" s.")
    page.get_by_label("Query").fill(query)
    expect(page.locator("#query-status")).to_contain_text("The nearest")
    rows = page.locator("#results li").all()
    return [(float(row.locator("data").evaluate("node => node.value")), row.locator("p").inner_text()) for row in rows]


def test_search_works_with_the_librarys_scores_and_without_a_network_from_then_on(
    browser: "Browser", tiny_page: Path, tiny: Path
) -> None:
    with browser.new_context() as context:
        with hosting(tiny_page) as site, opened(context, site.url) as page:
            wait_until_loaded(page)
            first = search(page, QUERY)
            passages = page.get_by_label("Passages").input_value().split("\n")
            assert max(map(site.asked.count, ["vendor/ort-wasm-simd-threaded.wasm", "bundle/model.int8.bin"])) == 1
        # The server is gone.
        with opened(context, site.url) as page:
            wait_until_loaded(page)
            expect(page.locator("#facts")).to_contain_text("works from now on")
            # With headers of the service worker, the page may have threads.
            threads = min(4, page.evaluate("navigator.hardwareConcurrency"))
            expect(page.locator("#facts div", has_text="Threads").locator("dd")).to_have_text(str(threads))
            assert search(page, QUERY) == first
    with Embedder.load(tiny) as model:
        scores = model.similarity(model.embed_query(QUERY), model.embed(passages))[0]
    # On another CPU two passages that are as near may change places.
    assert [score for score, _ in first] == sorted((score for score, _ in first), reverse=True)
    expected = dict(zip(passages, scores, strict=True))
    assert np.allclose([score for score, _ in first], [expected[text] for _, text in first], atol=0.005)
    assert np.allclose([score for score, _ in first], np.sort(scores)[::-1][: len(first)], atol=0.005)


def test_neither_the_page_nor_its_worker_can_ask_another_host(
    browser: "Browser", tiny_page: Path, tmp_path: Path
) -> None:
    ask = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'sent', () => 'blocked')"
    with (
        browser.new_context() as context,
        hosting(tiny_page) as site,
        hosting(tmp_path) as other,
        opened(context, site.url, faults=[], elsewhere=[]) as page,
    ):
        wait_until_loaded(page)
        (worker,) = page.workers
        assert page.evaluate(ask, other.url) == "blocked"
        assert worker.evaluate(ask, other.url) == "blocked"
        assert other.asked == []


def flipped(data: bytes) -> bytes:
    """With one bit flipped in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_files_that_are_not_the_sealed_ones_are_refused_with_their_name(
    browser: "Browser", site: Site, tiny_page: Path
) -> None:
    fields = json.loads((tiny_page / "bundle" / "manifest.json").read_bytes())
    manifest = "bundle/manifest.json"
    damages = {
        manifest: [
            (b"<!doctype html>", "is not JSON"),
            (
                sealed_bytes({**fields, "format_version": 4}),
                "format version 4, and this page reads 3; put a newer page",
            ),
            (sealed_bytes({**fields, "format_version": 2}), "export the checkpoint again"),
            (json.dumps({**fields, "max_tokens": 7}).encode(), "was altered after it was sealed"),
            (sealed_bytes({**fields, "task": "rerank"}), "is a reranker"),
        ],
        **{
            f"bundle/{name}": [
                (flipped((tiny_page / "bundle" / name).read_bytes()), f"{name} is damaged"),
                ((tiny_page / "bundle" / name).read_bytes() + b"\0", f"{name} is damaged"),
                (b"", f"{name} is damaged"),
            ]
            for name in ("tokenizer.json", "model.int8.onnx", "model.int8.bin")
        },
    }
    with browser.new_context(service_workers="block") as context, opened(context, site.url, faults=[]) as page:
        for path, cases in damages.items():
            for body, message in cases:
                site.replaced[path] = body
                page.evaluate("caches.delete('embedge-bundles')")
                page.reload()
                expect(page.locator("#model-error")).to_contain_text(message)
                expect(page.locator("#facts")).to_be_hidden()
                expect(page.locator("#embed")).to_be_disabled()
                del site.replaced[path]
        page.reload()
        wait_until_loaded(page)
        # What damages a kept copy makes the page fetch it again.
        page.evaluate(
            """async () => {
                const kept = await caches.open("embedge-bundles");
                const [key] = (await kept.keys()).filter(({ url }) => url.includes("model.int8.bin"));
                await kept.put(key, new Response("damaged"));
            }"""
        )
        site.asked.clear()
        page.reload()
        wait_until_loaded(page)
        assert "bundle/model.int8.bin" in site.asked
        assert "bundle/model.int8.onnx" not in site.asked


def test_vectors_that_are_no_numbers_are_a_fault(browser: "Browser", site: Site, tiny_page: Path) -> None:
    """A browser that computes wrong ones can't be had; here its vectors are changed on their way."""
    worker = (tiny_page / "worker.js").read_text()
    changed = worker.replace("  return vectors;", "  return vectors.map((vector) => vector.fill(NaN));")
    assert changed != worker
    site.replaced["worker.js"] = changed.encode()
    with browser.new_context(service_workers="block") as context, opened(context, site.url, faults=[]) as page:
        expect(page.locator("#model-error")).to_contain_text("other vectors than are sealed")


def test_another_bundle_takes_the_place_of_the_one_that_was_kept(browser: "Browser", site: Site, tiny: Path) -> None:
    fields = json.loads((tiny / "manifest.json").read_bytes())
    del fields["variants"]["int8"]
    with browser.new_context(service_workers="block") as context, opened(context, site.url, faults=[]) as page:
        wait_until_loaded(page)
        site.replaced["bundle/manifest.json"] = sealed_bytes(fields)
        site.replaced.update(
            {f"bundle/{name}": (tiny / name).read_bytes() for name in ("model.fp32.onnx", "model.fp32.bin")}
        )
        page.reload()
        wait_until_loaded(page)
        expect(page.locator("#facts")).to_contain_text("fp32")
        kept = page.evaluate(
            "caches.open('embedge-bundles').then((kept) => kept.keys()).then((all) => all.map((r) => r.url))"
        )
        names = {url.removeprefix(f"{site.url}bundle/").partition("?")[0] for url in kept}
        assert names == {"manifest.json", "tokenizer.json", "model.fp32.onnx", "model.fp32.bin"}


def test_a_new_version_of_the_page_is_there_at_the_visit_after_it_was_fetched(
    browser: "Browser", site: Site, tiny_page: Path
) -> None:
    style = b"h1 { color: rgb(1, 2, 3); }"
    program = (tiny_page / "program.js").read_text()
    old = base64.b64encode(hashlib.sha256((tiny_page / "style.css").read_bytes()).digest()).decode()
    new = base64.b64encode(hashlib.sha256(style).digest()).decode()
    version = json.loads(program.removeprefix("const PROGRAM = ").rstrip(";\n"))["version"]
    with browser.new_context() as context, opened(context, site.url) as page:
        wait_until_loaded(page)
        site.replaced["style.css"] = style
        site.replaced["program.js"] = program.replace(old, new).replace(version, "another").encode()
        page.reload()
        wait_until_loaded(page)
        page.evaluate(
            """async () => {
                const older = (name) => name.startsWith("embedge-program") && !name.endsWith(" another");
                for (let i = 0; i < 600 && (await caches.keys()).some(older); i++) {
                    await new Promise((resolve) => setTimeout(resolve, 50));
                }
            }"""
        )
        expect(page.locator("#facts")).to_be_visible()  # which was not loaded again under the reader's hands
        page.reload()
        expect(page.locator("h1")).to_have_css("color", "rgb(1, 2, 3)")
        wait_until_loaded(page)


def test_all_of_it_works_by_the_keyboard_alone(browser: "Browser", site: Site) -> None:
    def go_to(selector: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.locator(f"{selector}:focus").count():
                return
        raise AssertionError(f"the tab key never comes to {selector}")

    with browser.new_context() as context, opened(context, site.url) as page:
        wait_until_loaded(page)
        page.keyboard.press("Tab")
        assert page.locator(".skip").evaluate("node => node === document.activeElement")
        page.keyboard.press("Enter")
        go_to("#passages")
        page.keyboard.press("Control+a")
        page.keyboard.type("one\ntwo")
        go_to("#embed")
        page.keyboard.press("Enter")
        expect(page.locator("#embed-status")).to_contain_text("2 passages")
        assert page.locator("#embed").evaluate("node => node === document.activeElement")
        go_to("#file")
        go_to("#query")
        page.keyboard.type("two")
        expect(page.locator("#results li")).to_have_count(2)


def test_embedding_can_be_cancelled_and_begun_again(browser: "Browser", site: Site, passages: list[str]) -> None:
    def open_file(content: str) -> None:
        page.set_input_files("#file", {"name": "list.txt", "mimeType": "text/plain", "buffer": content.encode()})

    with browser.new_context() as context, opened(context, site.url) as page:
        wait_until_loaded(page)
        open_file("\n\n".join(passages * 9))
        page.locator("#embed").click()
        page.locator("#cancel").click()
        expect(page.locator("#embed")).to_have_text(f"Embed {9 * len(passages):,} passages")
        open_file("one\r\n\r\ntwo\r\nthree")
        page.locator("#embed").click()
        expect(page.locator("#embed-status")).to_contain_text("3 passages")


def test_axe_finds_no_fault(browser: "Browser", site: Site) -> None:
    """With results and with an error, light and dark, wide and narrow."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    # axe is put into the page as a string, which the page's own policy would not allow.
    with browser.new_context(bypass_csp=True) as context, opened(context, site.url) as page:
        wait_until_loaded(page)
        search(page, QUERY)
        page.evaluate(
            "for (const node of document.querySelectorAll('.error')) node.hidden = !(node.textContent = 'A fault.')"
        )
        schemes: list[Any] = ["light", "dark"]
        for scheme in schemes:
            for width in (1200, 360):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                found = axe.Axe().run(page)
                assert found.violations_count == 0, found.generate_report()
