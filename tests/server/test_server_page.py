"""The page, in a real browser, from a real server of the trained MiniLM."""

import contextlib
import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from embedge import Embedder
from embedge.server import Settings
from tests.cases import ROOT
from tests.server.conftest import serving, watched

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.page

PASSAGES = [
    "Refunds reach your account within five working days.",
    "The glacier has lost a third of its length.",
    "The quartet tunes to the oboe.",
]
QUERY = "how do I get my money back?"


def embed(page: "Page") -> None:
    """Press the button, and wait until the passages are embedded."""
    page.get_by_role("button", name=re.compile("^Embed")).click()
    expect(page.locator("#embed-status")).to_contain_text("of vectors")


def search(page: "Page", query: str, best: str) -> list[tuple[float, str]]:
    """Type a query, wait until ``best`` comes first; returns scores and passages as they are shown."""
    page.get_by_label("Query").fill(query)
    expect(page.locator("#results li").first).to_contain_text(best)
    rows = page.locator("#results li").all()
    return [(number(row.locator("data").inner_text()), row.locator("p").inner_text()) for row in rows]


def number(shown: str) -> float:
    """A number with a typographic minus."""
    return float(shown.replace("−", "-"))


def test_it_loads_without_errors_and_asks_no_other_host(page: "Page", model: Embedder) -> None:
    card = page.locator(".card")
    expect(card).to_contain_text("all-MiniLM-L6-v2")
    for fact in ("int8", "384", "256 tokens", "cosine", "ONNX Runtime", f"{model.threads} thread"):
        expect(card).to_contain_text(fact)
    expect(page.locator(".heat")).to_be_visible()
    expect(page.locator("#throughput svg.chart")).to_be_visible()
    expect(page.locator(".error:visible")).to_have_count(0)


def test_search_finds_the_passage_that_means_the_same_with_the_librarys_scores(page: "Page", model: Embedder) -> None:
    page.get_by_label("Passages").fill("\n".join(PASSAGES))
    embed(page)
    found = search(page, QUERY, PASSAGES[0])
    scores = model.similarity(model.embed_query(QUERY), model.embed(PASSAGES))[0]
    order = np.argsort(-scores)
    assert [text for _, text in found] == [PASSAGES[index] for index in order]
    assert np.allclose([score for score, _ in found], scores[order], atol=0.0006)


def test_the_heat_map_has_the_librarys_numbers(page: "Page", model: Embedder) -> None:
    page.get_by_label("Texts, one a line").fill("\n".join(PASSAGES))
    expect(page.locator(".heat tbody tr")).to_have_count(len(PASSAGES))
    shown = [
        [number(cell) for cell in row.locator("td").all_inner_texts()] for row in page.locator(".heat tbody tr").all()
    ]
    vectors = model.embed(PASSAGES)
    assert np.allclose(shown, model.similarity(vectors, vectors), atol=0.006)


def test_all_of_it_works_by_the_keyboard_alone(page: "Page") -> None:
    def go_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.locator(f"{selector}:focus").count() or page.locator(f"{selector}:focus-within").count():
                return
        raise AssertionError(f"the tab key never comes to {selector}")

    expect(page.locator(".heat")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.locator(".skip").evaluate("node => node === document.activeElement")
    page.keyboard.press("Enter")
    go_to("#similarity-texts")
    page.keyboard.press("Control+a")
    page.keyboard.type("one\ntwo")
    expect(page.locator(".heat tbody tr")).to_have_count(2)
    go_to("#similarity-table")
    go_to("#passages")
    page.keyboard.press("Control+a")
    page.keyboard.type("\n".join(PASSAGES))
    go_to("#file")
    go_to("#split")
    go_to("#embed")
    page.keyboard.press("Enter")
    expect(page.locator("#embed-status")).to_contain_text("of vectors")
    go_to("#query")
    page.keyboard.type(QUERY)
    expect(page.locator("#results li").first).to_contain_text(PASSAGES[0])
    go_to("#pause")
    page.keyboard.press("Space")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    go_to("#snippets-list button")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_no_fault_of_weight(browser: "Browser", url: str, scheme: Any, width: int) -> None:
    """With results, an error and the field for a key on it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    # axe is put into the page as a string, which the page's own policy would not allow.
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(url)
        expect(page.locator(".heat")).to_be_visible()
        page.get_by_label("Passages").fill("\n".join(PASSAGES))
        embed(page)
        search(page, QUERY, PASSAGES[0])
        page.set_input_files("#file", {"name": "a.csv", "mimeType": "text/csv", "buffer": b'a,b\n"never closed'})
        expect(page.locator("#passages-error")).to_be_visible()
        page.evaluate("import('./page/api.js').then(({ keys }) => keys.dispatchEvent(new Event('needed')))")
        expect(page.locator("#key")).to_be_visible()
        faults = [one for one in axe.Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in faults] == []


def test_a_phone_scrolls_in_one_direction_only(browser: "Browser", url: str, passages: list[str]) -> None:
    with browser.new_page(viewport={"width": 360, "height": 740}) as page, watched(page, url):
        page.goto(url)
        page.get_by_label("Texts, one a line").fill("\n".join([*passages[:12], "unbreakable" * 30]))
        expect(page.locator(".heat tbody tr")).to_have_count(13)
        page.get_by_label("Passages").fill("\n".join([*PASSAGES, "unbreakable" * 30]))
        embed(page)
        search(page, QUERY, PASSAGES[0])
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def drop(page: "Page", name: str, content: str) -> None:
    """Drop a file on the passages, as from a file manager."""
    transfer = page.evaluate_handle(
        """([name, content]) => {
          const data = new DataTransfer();
          data.items.add(new File([content], name));
          return data;
        }""",
        [name, content],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#file-name")).to_have_text(name)


def test_a_table_that_is_dropped_is_searched_by_a_column(page: "Page", tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    rows = [(number, text.replace(" ", ' "so"\n', 1), "a, b") for number, text in enumerate(PASSAGES)]
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "the answer", "tags"), *rows])
    drop(page, table.name, table.read_text(encoding="utf-8"))
    expect(page.locator("#column")).to_have_value("1")  # the longest
    expect(page.locator("#embed")).to_have_text("Embed 3 passages")
    embed(page)
    assert search(page, QUERY, "account")[0][1] == rows[0][1]
    page.get_by_label("Column").select_option("tags")
    page.get_by_label("First row has names").uncheck()
    expect(page.locator("#results li")).to_have_count(0)
    expect(page.locator("#embed")).to_have_text("Embed 4 passages")
    page.get_by_role("button", name="Remove the file").click()
    expect(page.get_by_label("Passages")).to_be_visible()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_a_file_is_read_in_the_encodings_of_spreadsheets(page: "Page", encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = f"{mark}name,text\na,Käse reift im Keller\n".encode(encoding)
    page.set_input_files("#file", {"name": "a.csv", "mimeType": "text/csv", "buffer": content})
    expect(page.locator("#embed")).to_have_text("Embed 1 passage")
    expect(page.locator("#column option")).to_have_text(["name", "text"])
    embed(page)
    assert search(page, "cheese", "Käse")[0][1] == "Käse reift im Keller"


def test_a_text_file_may_end_its_lines_in_any_way(page: "Page") -> None:
    for end in ("\n", "\r\n", "\r"):
        page.set_input_files(
            "#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": f"one{end}two{end}three".encode()}
        )
        expect(page.locator("#embed")).to_have_text("Embed 3 passages")


def test_what_is_dropped_without_a_text_leaves_the_passages_alone(page: "Page") -> None:
    page.get_by_label("Passages").fill("one\ntwo")
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle("new DataTransfer()")})
    expect(page.get_by_label("Passages")).to_have_value("one\ntwo")


def test_a_text_file_with_paragraphs_is_split_at_empty_lines(page: "Page", passages: list[str]) -> None:
    drop(page, "passages.txt", (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8"))
    expect(page.locator("#split")).to_have_value("paragraphs")
    embed(page)
    assert search(page, "why does the moon always show one face?", "Moon")[0][0] > 0.4
    expect(page.locator("#query-status")).to_contain_text("of 320 passages")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.png", "", "picture.png: neither .txt nor .csv"),
        ("open.csv", 'a,b\n1,"two', "opens in line 2 is never closed"),
        ("empty.csv", "\n\n", "has no rows"),
    ],
)
def test_a_file_that_can_not_be_read_is_reported(page: "Page", name: str, content: str, said: str) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content.encode()})
    expect(page.locator("#passages-error")).to_contain_text(said)


def test_a_key_is_asked_for_kept_in_the_tab_and_sent(browser: "Browser", url: str) -> None:
    def guard(route: "Route") -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "send a key of this server's"}})

    with browser.new_page() as page:
        for guarded in ("**/v1/**", "**/metrics", "**/status.json"):
            page.route(guarded, guard)
        page.goto(url)
        field = page.get_by_label("This server needs an API key")
        expect(field).to_be_focused()
        expect(page.locator("#models-error")).to_contain_text("needs an API key")
        expect(page.locator("#load-error")).to_contain_text("needs an API key")
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#key-error")).to_contain_text("does not know this key")
        field.fill("right")
        field.press("Enter")
        expect(page.locator(".heat")).to_be_visible()
        expect(field).to_be_hidden()
        expect(page.locator(".error:visible")).to_have_count(0)
        expect(page.locator("#snippets")).to_contain_text("EMBEDGE_API_KEY")
        assert "right" not in page.locator("#snippets").inner_text().split()
        assert page.evaluate("localStorage.length") == 0
        page.reload()
        expect(page.locator(".heat")).to_be_visible()


def test_a_key_that_no_request_can_carry_is_not_taken(page: "Page") -> None:
    page.evaluate("import('./page/api.js').then(({ keys }) => keys.dispatchEvent(new Event('needed')))")
    field = page.get_by_label("This server needs an API key")
    for key, fits in (("ключ", False), ("two words", False), (" a-Key_1~!", True)):
        field.fill(key)
        assert field.evaluate("node => node.checkValidity()") is fits
    field.fill("ключ")
    field.press("Enter")
    expect(field).to_be_visible()


def test_vectors_of_two_models_are_not_compared(page: "Page") -> None:
    def other(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "x-embedge-fingerprint": "int8-other"})

    page.get_by_label("Texts, one a line").fill("one\ntwo")
    expect(page.locator(".heat tbody tr")).to_have_count(2)
    page.route("**/v1/embeddings", other)
    page.get_by_label("Texts, one a line").fill("one\ntwo\nthree")
    expect(page.locator("#similarity-error")).to_contain_text("another model now")


def test_what_the_server_refuses_is_said_beside_it(browser: "Browser", model: Embedder) -> None:
    settings = Settings(max_text_tokens=16)
    with serving(model, settings=settings) as url, browser.new_page() as page:
        page.goto(url)
        page.get_by_label("Texts, one a line").fill("word " * 30 + "\nanother")
        expect(page.locator("#similarity-error")).to_contain_text("tokens, and 16 may be run")
        page.get_by_label("Passages").fill("short\n" + "word " * 30)
        page.locator("#embed").click()
        expect(page.locator("#passages-error")).to_contain_text("tokens, and 16 may be run")
        page.get_by_label("Passages").fill("short\nlong")
        embed(page)
        page.get_by_label("Query").fill("word " * 30)
        expect(page.locator("#query-error")).to_contain_text("tokens, and 16 may be run")


def test_a_server_that_takes_few_texts_at_once_gets_few(
    browser: "Browser", model: Embedder, passages: list[str]
) -> None:
    with serving(model, settings=Settings(max_texts=7)) as url, browser.new_page() as page:
        page.goto(url)
        page.get_by_label("Passages").fill("\n".join(passages[:50]))
        embed(page)
        expect(page.locator("#embed-status")).to_contain_text("50 passages")


def test_a_busy_server_is_asked_again_until_the_reader_cancels(browser: "Browser", url: str) -> None:
    busy = [True]

    def answer(route: "Route") -> None:
        if busy[0]:
            route.fulfill(status=429, json={"error": {"message": "full"}}, headers={"retry-after": "1"})
        else:
            route.continue_()

    with browser.new_page() as page:
        page.goto(url)
        expect(page.locator(".heat")).to_be_visible()
        page.route("**/v1/embeddings", answer)
        page.locator("#embed").click()
        expect(page.locator("#embed-status")).to_have_text("The server is busy; trying again in 1 s.")
        page.locator("#cancel").click()
        expect(page.locator("#embed-status")).to_have_text("Cancelled.")
        page.locator("#embed").click()
        expect(page.locator("#embed-status")).to_contain_text("busy")
        busy[0] = False
        expect(page.locator("#embed-status")).to_contain_text("of vectors")


def test_one_of_several_models_is_chosen_for_the_whole_page(
    browser: "Browser", model: Embedder, cls_bundle: Path
) -> None:
    with Embedder.load(cls_bundle) as other, serving(model, other) as url, browser.new_page() as page:
        page.goto(url)
        expect(page.locator(".card")).to_have_count(2)
        embed(page)
        page.get_by_label("Query").fill(QUERY)
        expect(page.locator("#results li")).to_have_count(10)
        name = page.locator("#model option").all_inner_texts()[1]
        page.get_by_label("Model that this page uses").select_option(name)
        expect(page.locator("#results li")).to_have_count(0)  # those were of the first model's vectors
        expect(page.locator("#snippets pre").first).to_contain_text(name)
        page.get_by_label("Texts, one a line").fill("\n".join(PASSAGES))
        expect(page.locator(".heat tbody tr")).to_have_count(3)
        shown = page.locator(".heat tbody tr").first.locator("td").nth(1).inner_text()
        first, second, _ = other.embed(PASSAGES)
        assert abs(number(shown) - other.similarity(first, second)[0, 0]) < 0.006


def test_a_server_that_is_gone_is_said_to_be(browser: "Browser", model: Embedder) -> None:
    with browser.new_page() as page:
        with serving(model) as url:
            page.goto(url)
            embed(page)
        page.get_by_label("Query").fill(QUERY)
        expect(page.locator("#query-error")).to_contain_text("does not answer")
        expect(page.locator("#load-error")).to_contain_text("does not answer")


def test_only_the_last_query_is_answered(page: "Page") -> None:
    page.get_by_label("Passages").fill("\n".join(PASSAGES))
    embed(page)
    held: list[Route] = []
    page.route(
        "**/v1/embeddings",
        lambda route: route.continue_() if QUERY in (route.request.post_data or "") else held.append(route),
    )
    with page.expect_request("**/v1/embeddings"):
        page.get_by_label("Query").fill("music")
    page.get_by_label("Query").fill(QUERY)
    expect(page.locator("#results li").first).to_contain_text(PASSAGES[0])
    with contextlib.suppress(sync_api.Error):  # the page has given it up
        held[0].continue_()
    page.wait_for_timeout(500)
    expect(page.locator("#results li").first).to_contain_text(PASSAGES[0])


def test_the_charts_follow_the_metrics(page: "Page", client: httpx.Client) -> None:
    expect(page.locator("#queue")).to_contain_text("tokens 0")
    client.post("/v1/embeddings", json={"input": ["a text"] * 100}).raise_for_status()
    expect(page.locator("#throughput b")).to_have_text(re.compile(r"[1-9]\d+"))
    expect(page.locator("#throughput path.line")).to_have_attribute("d", re.compile("M.*L"))


def snippet(page: "Page", name: str) -> str:
    """What the button beside a snippet copies."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name=f"Copy the {name} snippet").click()
    expect(page.locator("#snippets-list [role=status]", has_text="Copied")).to_have_count(1)
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


@pytest.mark.parametrize("name", ["curl", "Python", "JavaScript"])
def test_the_snippets_run_as_they_are(page: "Page", model: Embedder, name: str) -> None:
    code = snippet(page, name)
    programs = {
        "curl": ["bash", "-c"],
        "Python": [sys.executable, "-c"],
        "JavaScript": ["node", "--input-type=module", "-e"],
    }
    program = {"curl": "curl", "JavaScript": "node"}.get(name, sys.executable)
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} on this machine")
    if name == "JavaScript":  # which prints the first hundred numbers only
        code = code.replace("console.log(data[0].embedding)", "console.log(JSON.stringify(data[0].embedding))")
    done = subprocess.run([*programs[name], code], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    vector = answer["data"][0]["embedding"] if name == "curl" else answer
    assert np.array_equal(np.array(vector, np.float32), model.embed(["What runs at the edge?"])[0])
