"""The system tests: real accounts, sudo, systemd, JupyterHub and browser, in the test machine."""

import pytest

# Their assertions are those of tests, and say what was compared.
pytest.register_assert_rewrite("system.model", "system.play", "system.sequences")
