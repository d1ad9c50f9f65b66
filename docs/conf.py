"""How Sphinx makes a site of this folder: `make site`."""

import re
from pathlib import Path

HERE = Path(__file__).parent

project = "sudospawner-rs"
copyright = "the sudospawner-rs contributors"
# One version for everything: that of Cargo.toml.
release = re.search(
    r'^version = "(.+)"', (HERE.parent / "Cargo.toml").read_text(), re.MULTILINE
)[1]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["man"]
# Headings are what links such as `migration.md#subclasses` lead to, as on GitHub.
myst_heading_anchors = 3
# An indented block is whatever it is.
highlight_language = "none"

html_theme = "furo"
html_title = f"sudospawner-rs {release}"
html_show_sphinx = False
html_copy_source = False
