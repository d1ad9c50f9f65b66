"""What servers, mediators and users wrote, made fit to be shown: text, and nothing but text."""

from __future__ import annotations

import unicodedata

# Marks that turn the direction of writing and separators of lines: not control characters by
# Unicode's own classes, but they can make one line look like another, or like two.
_DECEPTIVE = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_control_characters(text: str, *, keep: str = "") -> str:
    r"""Write out every control character (``\x1b``), so that the text can be logged and shown.

    :param text: text from outside; lone surrogates are written out as well.
    :param keep: the characters that stay as they are, e.g. ``"\n"`` in a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character, keep) for character in text)


def _escape(character: str, keep: str) -> str:
    if character in keep:
        return character
    if unicodedata.category(character) not in ("Cc", "Cs") and character not in _DECEPTIVE:
        return character
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def last_lines(text: str, count: int = 12, characters: int = 2000) -> str:
    """Return the end of a text: at most so many lines and characters, blank lines left out."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])[-characters:]
