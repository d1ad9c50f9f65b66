"""How Sphinx makes a site of this folder: `make site`."""

import re
import subprocess
from pathlib import Path

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

HERE = Path(__file__).parent

project = "sudospawner-rs"
copyright = "the sudospawner-rs contributors"
# One version for everything: that of Cargo.toml.
release = re.search(
    r'^version = "(.+)"', (HERE.parent / "Cargo.toml").read_text(), re.MULTILINE
)[1]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".1": "mdoc", ".5": "mdoc", ".8": "mdoc"}
# Headings are what links such as `migration.md#subclasses` lead to, as on GitHub.
myst_heading_anchors = 3
# An indented block is whatever it is.
highlight_language = "none"
# Two dashes begin an option, and quotes are for programs.
smartquotes = False

html_theme = "furo"
html_title = f"sudospawner-rs {release}"
html_show_sphinx = False
html_copy_source = False


class ManualPageParser(MystParser):
    """Reads a manual page through mandoc, which writes Markdown."""

    supported = ("mdoc",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Make the page's first line its title, and move its headings below it."""
        mandoc = ["mandoc", "-T", "markdown"]
        ran = subprocess.run(
            mandoc, input=inputstring, capture_output=True, text=True, check=True
        )
        headings = re.sub("^#", "##", ran.stdout, flags=re.MULTILINE)
        super().parse(
            re.sub(r"\A(\S+).*", lambda title: f"# {title[1].lower()}", headings),
            document,
        )


def setup(app: Sphinx) -> None:
    """Have Sphinx read manual pages."""
    app.add_source_parser(ManualPageParser)
