"""Tells on stderr what is going on: stdout is for the table alone."""

import sys


def report(text: str) -> None:
    """Print one line of progress."""
    print(f"    {text}", file=sys.stderr, flush=True)
