"""Makes text from servers, mediators and users safe to show."""

from __future__ import annotations

# _CONTROL: control characters and lone surrogates. _DECEPTIVE: line separators and bidirectional
# controls, which can make one line look like another, or like two.
_CONTROL = (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))
_DECEPTIVE = (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _write_out(code: int) -> str:
    return _SHORT.get(chr(code)) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


_WRITTEN_OUT = {code: _write_out(code) for code in (*_CONTROL, *_DECEPTIVE)}


def escape_control_characters(text: str, *, keep: str = "") -> str:
    r"""Escape every control character (``\x1b``), so that the text can be logged and shown.

    :param text: untrusted text; lone surrogates are escaped as well.
    :param keep: characters that stay as they are, such as ``"\n"`` in a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate({**_WRITTEN_OUT, **{ord(kept): kept for kept in keep}})


def last_lines(text: str, count: int = 12, characters: int = 2000) -> str:
    """Return the end of a text, without blank lines: at most so many lines and characters."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])[-characters:]
