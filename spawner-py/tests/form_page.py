"""`Page`: the form of profiles as a browser and a screen reader read it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a form, with what a screen reader needs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: dict[str, dict[str, str | None]] = {}
        self.labels: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.opened: list[tuple[str, dict[str, str | None]]] = []
        self.legends: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        found = dict(attributes)
        if tag == "input":
            assert ("fieldset", "form-group mb-3") in [
                (name, kept.get("class")) for name, kept in self.opened
            ]
            self.inputs[found["id"]] = found
        else:
            self.opened.append((tag, found))

    def handle_endtag(self, tag):
        assert self.opened.pop()[0] == tag, "the elements are not nested"

    def handle_data(self, data):
        if not self.opened:
            return
        tag, found = self.opened[-1]
        if tag == "label":
            self.labels[found["for"]] = self.labels.get(found["for"], "") + data
        if tag == "legend":
            self.legends.append(data)
        if "id" in found:
            self.texts[found["id"]] = self.texts.get(found["id"], "") + data
