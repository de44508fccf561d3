"""The picture of the page in docs/images: ``python -m tests.browser.screenshot``, after ``make demo``.

Needs npm, Chromium and the package playwright.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from benchmarks.edge.static_site import build_page, hosting
from tests.server.screenshots import BUNDLE, PASSAGES, shoot


def main() -> None:
    """Write it, of the bundle in the first argument or that of the demo."""
    bundle = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLE
    expect.set_options(timeout=60_000)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        build_page(bundle, Path(place) / "dist")
        browser = playwright.chromium.launch(executable_path=chromium)
        with (
            hosting(Path(place) / "dist") as site,
            browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light") as page,
        ):
            for _ in range(2):  # from the second time on it has threads
                page.goto(site.url)
                expect(page.locator("#facts")).to_be_visible()
            page.set_input_files("#file", PASSAGES)
            page.locator("#embed").click()
            expect(page.locator("#embed-status")).to_contain_text(" s.")
            page.get_by_label("Query").fill("how do bees tell each other where food is?")
            expect(page.locator("#results li").first).to_contain_text("bee")
            shoot(page, "browser.png", "header", "#results li:nth-child(4)")
        browser.close()


if __name__ == "__main__":
    main()
