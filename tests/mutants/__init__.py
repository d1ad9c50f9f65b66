"""Removes the numbered checks of `docs/security.md` one at a time; a test must fail each time."""
