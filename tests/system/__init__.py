"""The system tests: real accounts, sudo, systemd, JupyterHub and browser, in the test machine."""
