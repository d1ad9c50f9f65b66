#!/usr/bin/python3 -I
"""Prints the real, effective and saved uid of each process that reads a file: watch_reads.py FILE.

fanotify(7) has the reader wait until it has been looked at. Prints "ready" when it watches.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

FANOTIFY_INIT, FANOTIFY_MARK = 300, 301
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_ACCESS_PERM, FAN_ALLOW = 0x4, 0x1, 0x20000, 1
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)
group = libc.syscall(FANOTIFY_INIT, FAN_CLASS_CONTENT, os.O_RDONLY)
mark = libc.syscall(
    FANOTIFY_MARK, group, FAN_MARK_ADD, ctypes.c_uint64(FAN_ACCESS_PERM), AT_FDCWD,
    sys.argv[1].encode(),
)  # fmt: skip
if group < 0 or mark != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print("ready", flush=True)
while True:
    event = os.read(group, 24)
    _, _, _, _, _, descriptor, pid = struct.unpack("IBBHQii", event)
    uids = Path(f"/proc/{pid}/status").read_text().partition("\nUid:\t")[2].split()[:3]
    print(*uids, flush=True)
    os.write(group, struct.pack("iI", descriptor, FAN_ALLOW))
    os.close(descriptor)
