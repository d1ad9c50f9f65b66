"""Prints progress on stderr, because stdout is only for the table."""

import sys


def report(text: str) -> None:
    """Print one line of progress."""
    print(f"    {text}", file=sys.stderr, flush=True)
