"""`make docs`: the site is made without a warning, every page is reachable, every link leads on."""

from __future__ import annotations

import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from machine.installation import REPOSITORY

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


@pytest.fixture(scope="module")
def site() -> dict[Path, Document]:
    """Every page of the site, made anew."""
    made = subprocess.run(["make", "docs"], cwd=REPOSITORY, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return {file: Document(file) for file in SITE.glob("*.html")}


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
    assert len(pages) > 10
    assert pages <= reached


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


def test_the_search_knows_the_words_of_the_pages(site: dict[Path, Document]) -> None:
    index = (SITE / "searchindex.js").read_text()
    assert SITE / "search.html" in site
    for word in ("setcap", "freebsd", "home_miss"):
        assert word in index, word
