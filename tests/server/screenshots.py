"""The pictures of the page in docs/images: ``python -m tests.server.screenshots``, after ``make demo``.

Needs Chromium and the package playwright. Takes two minutes, in which some callers keep the server busy.
"""

import io
import itertools
import shutil
import sys
import threading
import time
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from embedge import Embedder
from tests.cases import ROOT
from tests.server.conftest import serving

BUNDLE = ROOT / "models" / "all-minilm-l6-v2"
IMAGES = ROOT / "docs" / "images"
PASSAGES = ROOT / "examples" / "passages.txt"
SECONDS = 115


def main() -> None:
    """Write the pictures, of the bundle in the first argument or that of the demo."""
    bundle = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLE
    expect.set_options(timeout=60_000)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with Embedder.load(bundle) as model, serving(model) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        with browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light") as page:
            page.goto(url)
            expect(page.locator(".heat")).to_be_visible()
            shoot(page, "page-similarity.png", "header", "#similarity")
        with browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="dark") as page:
            page.goto(url)
            keep_busy(page, url)
            page.set_input_files("#file", PASSAGES)
            page.locator("#embed").click()
            expect(page.locator("#embed-status")).to_contain_text("of vectors")
            page.get_by_label("Query").fill("how do bees tell each other where food is?")
            expect(page.locator("#results li").first).to_contain_text("bee")
            shoot(page, "page-search.png", "#search", "#load")
        browser.close()


def keep_busy(page: Page, url: str) -> None:
    """Ask for vectors with one to six callers at a time, which take turns."""
    texts = PASSAGES.read_text(encoding="utf-8").split("\n\n")
    until = time.monotonic() + SECONDS

    def call(number: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for turn in itertools.count():
                if time.monotonic() > until:
                    return
                if number > 0 and (time.monotonic() // 9) % 6 < number:
                    time.sleep(0.1)
                else:
                    part = [texts[(7 * turn + index) % len(texts)] for index in range(1 + number)]
                    client.post("/v1/embeddings", json={"input": part}).raise_for_status()
                    time.sleep(0.05)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for caller in callers:
        caller.start()
    page.wait_for_timeout(1000 * SECONDS)
    for caller in callers:
        caller.join()


def shoot(page: Page, name: str, first: str, last: str) -> None:
    """A picture of the page's whole width, from the top of one element to the end of another."""
    top, bottom = page.locator(first).first.bounding_box(), page.locator(last).bounding_box()
    assert top
    assert bottom
    scrolled = page.evaluate("scrollY")
    height = bottom["y"] + bottom["height"] - top["y"]
    taken = page.screenshot(full_page=True, clip={"x": 0, "y": top["y"] + scrolled, "width": 1100, "height": height})
    picture = Image.open(io.BytesIO(taken))
    picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(IMAGES / name, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main()
