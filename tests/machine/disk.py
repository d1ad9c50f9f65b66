"""`Disk`: what the virtual machine boots from, made from Debian's packages."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

from machine.caches import Debian

CONTEXTS = "/etc/selinux/default/contexts/files/file_contexts"
SLACK = 2 << 30

NETWORK = """\
[Match]
Type=ether

[Network]
Address=10.0.2.15/24
"""
# systemd's own way, a credential, is denied to it by Debian's policy.
KEY = r"""[Unit]
Description=Whom root's session is for, as the kernel's command line says
Before=ssh.service

[Service]
Type=oneshot
ExecStart=mkdir -p /root/.ssh
ExecStart=sed -n "s/.* ssh_key=\\([^ ]*\\).*/ssh-ed25519 \\1/w /root/.ssh/authorized_keys" \
    /proc/cmdline
ExecStart=restorecon -R /root/.ssh

[Install]
WantedBy=ssh.service
"""
# A machine's own name, which sudo must be able to resolve.
HOSTS = "127.0.0.1 localhost machine\n::1 localhost\n"


class Disk(Debian):
    """A root file system as an image of ext4, with its kernel and its initrd beside it.

    Every file has its label of SELinux before the first boot: setfiles needs no kernel with
    SELinux, and mke2fs copies extended attributes.
    """

    @property
    def image(self) -> Path:
        """The image, which machines never write to."""
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initrd, which has the drivers of the disk."""
        return self.folder / "initrd.img"

    def _describe_surroundings(self) -> bytes:
        return super()._describe_surroundings() + Path(__file__).read_bytes()

    def _build(self) -> None:
        root = self.folder / "root"
        self.folder.mkdir()
        self._bootstrap(root)
        (root / "etc/hostname").write_text("machine\n")
        (root / "etc/hosts").write_text(HOSTS)
        (root / "etc/systemd/network/ether.network").write_text(NETWORK)
        (root / "etc/systemd/system/timers.target").symlink_to("/dev/null")
        (root / "etc/systemd/system/key.service").write_text(KEY)
        # No boot is the first: it would be slower.
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        enable = ["systemctl", f"--root={root}", "--quiet", "enable"]
        subprocess.run([*enable, "systemd-networkd.service", "key.service"], check=True)
        subprocess.run(["chroot", root, "setfiles", "-F", CONTEXTS, "/"], check=True)
        for path in (self.kernel, self.initrd):
            shutil.copyfile(root / path.name, path)
            path.chmod(0o644)
        used = subprocess.run(["du", "-s", "--block-size=1", root], capture_output=True, check=True)
        size = int(used.stdout.split()[0]) + SLACK
        with self.image.open("wb") as image:
            image.truncate(size)
        make = ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", root]
        subprocess.run([*make, self.image], check=True)
        shutil.rmtree(root)
