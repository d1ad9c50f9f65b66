"""Takes the numbered checks of `docs/security.md` out, one at a time: the tests have to notice."""
