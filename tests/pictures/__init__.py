"""Makes what `docs/pictures` has: of a real Hub, a real terminal, and the texts of the drawings."""
