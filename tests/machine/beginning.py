"""How a process of the tests begins: the same from a terminal, nohup, cron or a script."""

from __future__ import annotations

import os
import signal


def begin_process() -> None:
    """Take the usual umask, and the usual actions of the signals by which a person ends a program.

    Background jobs begin with SIGINT and SIGQUIT ignored, and so would everything that they start.
    What nohup does to SIGHUP stays: it is asked for.
    """
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
