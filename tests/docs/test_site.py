"""The built site in a real Chromium, at the width of a desk and of a phone."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))
SCREENS = {"desk": (1280, 800), "phone": (390, 844)}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # That of the system; without one, the one that `playwright install chromium` brings.
        system = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=SCREENS)
def screen(browser, request):
    width, height = SCREENS[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    yield page
    page.close()


@pytest.fixture
def show(site, screen):
    """Opens a page of docs/ in the site and returns the browser's."""

    def show(path):
        folder = path.with_suffix("") if path.stem != "index" else path.parent
        screen.goto((site / folder / "index.html").as_uri())
        return screen

    return show


# What sticks out of a page, with the words in it, unless it is in a box that scrolls by itself.
TOO_WIDE = """() => {
  const scrolls = e => e.closest('.md-content') &&
    (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
  return [...document.querySelectorAll('.md-content *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement))
    .map(e => `${e.tagName}: ${e.textContent.slice(0, 60)}`);
}"""

# Cells of three lines or more with less than eight letters in a line.
NARROW_CELLS = """() => [...document.querySelectorAll('.md-content :is(td, th)')]
  .filter(e => e.closest('table:not(.highlighttable)'))
  .map(e => {
    const range = document.createRange();
    range.selectNodeContents(e);
    const tops = new Set([...range.getClientRects()].map(r => Math.round(r.bottom / 8)));
    return {text: e.innerText.trim(), lines: tops.size};
  })
  .filter(cell => cell.lines > 2 && cell.text.length / cell.lines < 8)
  .map(cell => cell.text)"""


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_page_is_no_wider_than_its_screen_and_its_columns_no_few_letters(path, show):
    page = show(path)
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.evaluate(NARROW_CELLS) == []


def test_the_first_screen_has_the_picture_and_the_result(show):
    page = show(pathlib.Path("index.md"))
    for what in (page.locator(".hero img"), page.get_by_text("99.15 %").first):
        box = what.bounding_box()
        assert box["width"] > 40
        assert box["y"] + box["height"] <= page.viewport_size["height"]


@pytest.mark.parametrize("path", ["index.md", "paper.md"])
def test_words_in_drawings_are_large_enough_to_read(path, show):
    page = show(pathlib.Path(path))
    shown = page.locator("img[src$='.svg']").evaluate_all(
        "all => all.map(e => [e.getAttribute('src'), e.clientWidth / e.naturalWidth])"
    )
    assert len(shown) > 1
    assert not [name for name, scale in shown if scale < 0.6]


@pytest.mark.parametrize("path", [p for p in PAGES if "results" in str(p)], ids=str)
def test_no_page_of_results_is_an_endless_strip(path, show):
    page = show(path)
    screens = page.evaluate("document.documentElement.scrollHeight / innerHeight")
    assert screens < 5, path


@pytest.mark.parametrize("path", [p for p in PAGES if p.parts[0] == "api"], ids=str)
def test_api_pages_show_examples_as_code_and_signatures(path, show):
    page = show(path)
    assert page.locator(".doc blockquote").count() == 0
    prompts = page.get_by_text(">>>")
    assert prompts.count() > 0
    assert prompts.evaluate_all("all => all.every(e => e.closest('pre'))")
    unsigned = page.locator(".doc-function, .doc-class:has-text('Attributes:')").evaluate_all(
        """all => all
          .filter(e => !e.querySelector(':scope > .doc-signature, :scope > * > .doc-signature'))
          .map(e => e.querySelector('.doc-heading').innerText)"""
    )
    assert unsigned == []
