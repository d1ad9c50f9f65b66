"""`make site`: it is made without a warning, no page stands alone, every link leads on.

It is read in chromium as on a telephone, and searched.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from machine.installation import REPOSITORY
from machine.machine import Machine

DOCS = REPOSITORY / "docs"
SITE = REPOSITORY / "target/docs"


class Document(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect `href` and `id`."""
        for name, value in attrs:
            if tag == "a" and name == "href" and value:
                self.links.add(value)
            elif name == "id" and value:
                self.places.add(value)


TELEPHONE = {"width": 390, "height": 844}
# What is cut off at the right, or makes the page wider, unless it is in a box that scrolls.
TOO_WIDE = """
() => [...document.querySelectorAll("article *")].filter(element => {
    const edge = document.documentElement.clientWidth + 1;
    if (element.getBoundingClientRect().right <= edge) return false;
    for (let box = element.parentElement; box !== document.body; box = box.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
    return getComputedStyle(element).visibility === "visible";
}).map(element => element.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def site() -> dict[Path, Document]:
    """Every page of the site, made anew."""
    made = subprocess.run(["make", "site"], cwd=REPOSITORY, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return {file: Document(file) for file in SITE.rglob("*.html")}


@pytest.fixture(scope="module")
def address(machine: Machine, site: dict[Path, Document]) -> Iterator[str]:
    """Where the machine serves the site."""
    machine.copy_in(SITE, "/srv/site")
    serve = "exec python3 -u -m http.server --bind 127.0.0.1 --directory /srv/site 8090"
    with machine.start(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as serving:
        assert serving.stdout is not None and serving.stdout.readline()
        yield "http://127.0.0.1:8090"
        machine.run(["pkill", "--full", "http.server"])
    machine.run(["rm", "-r", "/srv/site"])


def follow(file: Path, link: str) -> tuple[Path, str]:
    """The file that a link within the site leads to, and the place in it."""
    parts = urlsplit(link)
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    return target, unquote(parts.fragment)


def test_every_page_is_reachable_from_the_first(site: dict[Path, Document]) -> None:
    reached: set[Path] = set()
    waiting = [SITE / "index.html"]
    while waiting:
        file = waiting.pop()
        if file in reached or file not in site:
            continue
        reached.add(file)
        waiting += [follow(file, link)[0] for link in site[file].links if "://" not in link]
    pages = {SITE / f"{page.stem}.html" for page in DOCS.glob("*.md")}
    pages |= {SITE / f"man/{page.stem}.html" for page in DOCS.glob("man/*")}
    assert len(pages) > 10
    assert pages <= reached


def test_no_page_stands_alone(site: dict[Path, Document]) -> None:
    """In what people read, beside the lists, the first page leads to each, and another one, too."""
    prose = {
        page.name: re.findall(r"\]\((\w+\.md)", page.read_text()) for page in DOCS.glob("*.md")
    }
    pages = set(prose) - {"index.md"}
    assert pages == set(prose["index.md"])
    for page in pages:
        assert any(page in prose[other] for other in pages - {page}), page


def test_every_link_within_the_site_leads_to_a_place(site: dict[Path, Document]) -> None:
    broken = []
    for file, document in site.items():
        for link in document.links:
            if "://" in link:
                continue
            target, place = follow(file, link)
            if not target.is_file() or (place and place not in site[target].places):
                broken.append(f"{file.name}: {link}")
    assert broken == []


def test_options_have_two_dashes(site: dict[Path, Document]) -> None:
    assert "--server-name" in (SITE / "man/sudospawner.html").read_text()


def test_the_search_knows_the_words_of_the_pages(site: dict[Path, Document]) -> None:
    index = (SITE / "searchindex.js").read_text()
    assert SITE / "search.html" in site
    for word in ("setcap", "freebsd", "home_miss"):
        assert word in index, word


def test_on_a_telephone_no_page_scrolls_sideways(
    address: str, site: dict[Path, Document], page: Page, artifacts: Path
) -> None:
    page.set_viewport_size(TELEPHONE)
    for file in sorted(site):
        page.goto(f"{address}/{file.relative_to(SITE)}")
        if file.stem == "index":
            page.screenshot(path=artifacts / "site-on-a-telephone.png", full_page=True)
        content = page.locator("meta[name=viewport]").first.get_attribute("content") or ""
        assert "width=device-width" in content, file.name
        assert page.evaluate(TOO_WIDE) == [], file.name
        widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scrolled, seen = page.evaluate(widths)
        assert scrolled == seen <= TELEPHONE["width"], file.name


def test_on_a_telephone_the_search_leads_to_the_page_on_a_failure(address: str, page: Page) -> None:
    page.set_viewport_size(TELEPHONE)
    page.goto(address)
    page.locator("header label[for=__navigation]").click()
    page.get_by_placeholder("Search").fill("target_not_permitted")
    page.keyboard.press("Enter")
    page.locator("#search-results").get_by_role("link", name="Troubleshooting").first.click()
    expect(page.locator("article")).to_contain_text("target_not_permitted")
