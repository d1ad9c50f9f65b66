"""`VirtualMachine`: a machine with a kernel of its own, Debian's, in qemu."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from machine.caches import held_caches
from machine.disk import Disk
from machine.machine import HERE, Machine, MachineError

BOOT_SECONDS = 900.0
NOBODY = 65534
KVM = Path("/dev/kvm")

# A slow computer is no failure, of systemd's units neither.
COMMAND_LINE = (
    "root=/dev/vda rw console=ttyS0 security=selinux selinux=1 enforcing=1 loglevel=4 "
    "systemd.show_status=0 systemd.condition_needs_update=0 "
    "systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
)


class VirtualMachine(Machine):
    """A computer that qemu emulates, with Debian's kernel and SELinux, enforcing from the start.

    It has the same accounts as every machine, and the same methods but `network` and `leader`.
    Commands come into it by ssh, in a session of root's: a command has not ended for us while a
    process that it left holds its standard output or error. What the machine writes to its disk
    goes to a file without a name. qemu runs as nobody, with KVM where that works.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk
        self._qemu: subprocess.Popen[bytes] | None = None
        folder = self._resources.enter_context(tempfile.TemporaryDirectory())
        self._ssh = ["ssh", "-F", f"{folder}/config"]
        self._folder = Path(folder)

    def boot(self) -> None:
        """Boot and create the accounts; `MachineError` if that fails."""
        self._resources.enter_context(held_caches())
        key = self._folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        port = find_free_port()
        self._write_settings(key, port)
        public = key.with_suffix(".pub").read_text().split()[1]
        self._qemu = subprocess.Popen(
            [
                *list_limits_of_qemu(),
                *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
                *("-accel", "kvm", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "2048"),
                *("-sandbox", "on", "-no-reboot", "-serial", "stdio"),
                *("-kernel", str(self._disk.kernel), "-initrd", str(self._disk.initrd)),
                *("-append", f"{COMMAND_LINE} ssh_key={public}"),
                *("-drive", f"file={self._disk.image},format=raw,if=virtio,snapshot=on"),
                *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
                *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            # Where qemu makes the file of what is written, and removes its name at once.
            env={"PATH": os.environ["PATH"], "TMPDIR": "/var/tmp"},
        )
        self._connect()
        self.run(["sh", "-s"], input=(HERE / "provision.sh").read_text(), timeout=900)

    def _write_settings(self, key: Path, port: int) -> None:
        settings = {
            "HostName": "127.0.0.1",
            "Port": port,
            "User": "root",
            "IdentityFile": key,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            # The way to the machine is our own process.
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "ControlPath": self._folder / "control",
            "ConnectTimeout": 60,
            "LogLevel": "ERROR",
        }
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        (self._folder / "config").write_text("".join(lines))

    def _connect(self) -> None:
        """Open the connection that all commands share, once the machine answers."""
        assert self._qemu is not None
        deadline = time.monotonic() + BOOT_SECONDS
        # It goes into the background once it is open, and ends with qemu.
        opening = [*self._ssh, "-M", "-N", "-f", "machine"]
        while subprocess.run(opening, stdin=subprocess.DEVNULL, stderr=self._console).returncode:
            if self._qemu.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"The virtual machine did not boot:\n{self.read_console()}")
            time.sleep(1)

    def close(self) -> None:
        """End the machine and everything in it. Does nothing if it is closed already."""
        if self._qemu is not None:
            leave = [*self._ssh, "-O", "exit", "machine"]
            subprocess.run(leave, stderr=subprocess.DEVNULL)
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
        super().close()

    def _start(
        self, command: list[str], environment: dict[str, str], popen: dict[str, Any]
    ) -> subprocess.Popen[Any]:
        pairs = [f"{name}={value}" for name, value in environment.items()]
        # The login shell makes way for the command.
        line = "exec " + shlex.join(["/usr/bin/env", "--ignore-environment", *pairs, *command])
        return subprocess.Popen([*self._ssh, "machine", line], **popen)


def list_limits_of_qemu() -> list[str]:
    """The words before qemu: it has no rights, and ends with this process."""
    group = KVM.stat().st_gid if KVM.exists() else 0
    groups = [f"--groups={group}"] if group else ["--clear-groups"]
    return [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *groups, "--no-new-privs"),
        *("--pdeathsig", "KILL"),
    ]


def find_free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
