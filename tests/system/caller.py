#!/usr/bin/python3 -I
"""A caller that passes on what it is told, and then becomes the program behind `--`.

limit NAME VALUE   the soft limit of setrlimit(2)
idle               the scheduling of SCHED_IDLE, nice value 19, idle priority of input and output
cpu                the first of its CPUs alone
slack              a timer slack of a second
victim             the first for the out-of-memory killer
persona            addresses that are not random
key TEXT           a key in the session keyring, whose number takes the place of KEY behind `--`
"""

import ctypes
import os
import resource
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL, IOPRIO_SET = 248, 250, 251
PR_SET_TIMERSLACK = 29
ADDR_NO_RANDOMIZE = 0x0040000
# The one limit whose name the module resource does not have.
LOCKS = 10

place = sys.argv.index("--")
words, program = iter(sys.argv[1:place]), sys.argv[place + 1 :]
for word in words:
    if word == "limit":
        name = next(words)
        kind = LOCKS if name == "LOCKS" else getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (int(next(words)), hard))
    elif word == "idle":
        os.nice(19)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        libc.syscall(IOPRIO_SET, 1, 0, 3 << 13)
    elif word == "cpu":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    elif word == "slack":
        libc.prctl(PR_SET_TIMERSLACK, 10**9, 0, 0, 0)
    elif word == "victim":
        Path("/proc/self/oom_score_adj").write_text("500")
    elif word == "persona":
        libc.personality(ADDR_NO_RANDOMIZE)
    elif word == "key":
        libc.syscall(KEYCTL, 1, None)
        text = next(words).encode()
        number = libc.syscall(ADD_KEY, b"user", b"of-the-caller", text, len(text), -3)
        assert number > 0, os.strerror(ctypes.get_errno())
        # For whoever possesses it all, and for others too what there is to be had.
        program = [part.replace("KEY", str(number)) for part in program]
os.execvp(program[0], program)
