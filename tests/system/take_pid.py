#!/usr/bin/python3 -I
"""Starts `sleep 9999` as another account, with a pid that is free: take_pid.py PID UID.

clone3(2) lets root choose. By itself the kernel gives a pid anew after all others.
"""

import ctypes
import os
import struct
import sys

CLONE3, SIGCHLD = 435, 17

pid, uid = int(sys.argv[1]), int(sys.argv[2])
wanted = (ctypes.c_int * 1)(pid)
fields = [0, 0, 0, 0, SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0]
arguments = ctypes.create_string_buffer(struct.pack("11Q", *fields))
libc = ctypes.CDLL(None, use_errno=True)
child = libc.syscall(CLONE3, arguments, 88)
if child == 0:
    os.setgid(uid)
    os.setuid(uid)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.execv("/usr/bin/sleep", ["sleep", "9999"])
if child < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print(child)
