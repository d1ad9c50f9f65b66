"""OCI bundles as a kubelet has them made: what a pod says becomes runc's config.json.

What is written there is what containerd's CRI plugin writes; Docker writes the same capabilities.
The default seccomp profile is that of Debian's containers-common, which CRI-O and Podman have.
"""

from __future__ import annotations

import itertools
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from machine.catalogue import DEBIANS, NEWEST
from machine.machine import Machine

NUMBERS = {
    **{
        "CHOWN": 0,
        "DAC_OVERRIDE": 1,
        "FOWNER": 3,
        "FSETID": 4,
        "KILL": 5,
        "SETGID": 6,
        "SETUID": 7,
    },
    **{"SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_CHROOT": 18},
    **{"SYS_ADMIN": 21, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31},
}
"""The numbers of capabilities, as in linux/capability.h."""
DEFAULT = frozenset(NUMBERS) - {"NET_ADMIN", "SYS_ADMIN"}
"""What a container has if its pod says nothing: containerd's set."""


def name_capabilities(mask: str) -> frozenset[str]:
    """The capabilities of a set in /proc/PID/status: their names, or else their numbers."""
    names = {number: name for name, number in NUMBERS.items()}
    bits = int(mask, 16)
    return frozenset(names.get(n, str(n)) for n in range(bits.bit_length()) if bits >> n & 1)


ROOT = "/var/lib/debian"
"""In a node: Debian's root file system as it was made, which nobody can write to."""
FIRST_ID = 100000
"""What a node's kernel calls root of a container that has ids of its own."""


@contextmanager
def boot_node() -> Iterator[Machine]:
    """A machine with runc and buildah, as a node has them.

    It is on cgroup v2, where the machine's hierarchy is its own: on v1, runc would make groups in
    some of the host's.
    """
    root = f"--bind-ro={DEBIANS[NEWEST].folder}:{ROOT}"
    with Machine(cgroups="v2", options=[root]) as machine:
        machine.run("dpkg --install /opt/containers/*.deb")
        yield machine


@dataclass(frozen=True)
class SecurityContext:
    """What a pod says of a container, in the words of Kubernetes.

    `run_as_group`: without it, containerd takes the group that the image's account has, and root's
    if the uid has no account. `fs_group` and `supplemental_groups` are the pod's.
    """

    run_as_user: int = 0
    run_as_group: int = 0
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    drop: frozenset[str] = frozenset()
    add: frozenset[str] = frozenset()
    allow_privilege_escalation: bool = True
    read_only_root_filesystem: bool = False
    seccomp: str = "RuntimeDefault"

    @property
    def capabilities(self) -> frozenset[str]:
        """What is left of containerd's set, and what comes to it."""
        left = frozenset() if "ALL" in self.drop else DEFAULT - self.drop
        return left | self.add

    @property
    def groups(self) -> tuple[int, ...]:
        """The first process's groups, which the kernel keeps in order."""
        volumes = () if self.fs_group is None else (self.fs_group,)
        return tuple(sorted({self.run_as_group, *self.supplemental_groups, *volumes}))


def select_filter(profile: dict[str, Any], capabilities: frozenset[str]) -> dict[str, Any]:
    """The seccomp filter that a runtime makes of a profile for a container on this computer.

    A rule of the profile may name the capabilities and the architectures that it is for.
    """
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    here = {"arches": {architecture}, "caps": {f"CAP_{name}" for name in capabilities}}

    def has(condition: Mapping[str, list[str]]) -> Iterator[bool]:
        return (not here[key].isdisjoint(names) for key, names in condition.items())

    rules = []
    for rule in profile["syscalls"]:
        if all(has(rule["includes"])) and not any(has(rule["excludes"])):
            keys = ("names", "action", "errnoRet", "args")
            rules.append({key: rule[key] for key in keys if rule.get(key)})
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "syscalls": rules,
    }


def map_root(machine: Machine, folder: str) -> str:
    """Lay out ROOT, below a folder, for a container that has ids of its own, as containerd does.

    Raises `MachineError` where the file system of the caches cannot be mapped.
    """
    machine.run(["mkdir", "--parents", *(f"{folder}/{name}" for name in ("lower", "more", "root"))])
    mapping = f"X-mount.idmap=b:0:{FIRST_ID}:65536"
    machine.run(["mount", "--bind", "--options", mapping, ROOT, f"{folder}/lower"])
    owner = f"uid={FIRST_ID},gid={FIRST_ID}"
    machine.run(["mount", "-t", "tmpfs", "-o", owner, "tmpfs", f"{folder}/more"])
    machine.run(f"install -d -o {FIRST_ID} -g {FIRST_ID} {folder}/more/upper {folder}/more/work")
    layers = f"lowerdir={folder}/lower,upperdir={folder}/more/upper,workdir={folder}/more/work"
    machine.run(["mount", "-t", "overlay", "-o", layers, "overlay", f"{folder}/root"])
    return f"{folder}/root"


class Bundle:
    """A bundle in the machine, of which any number of containers can be run, one after another.

    `root`: the root file system; without it the machine's own, so that the image is what is
    installed there. `process`: what else each process has. `host_network`: whether it has the
    machine's network and name. `host_users`: whether its ids are the machine's, or those from
    FIRST_ID on.
    """

    def __init__(
        self,
        machine: Machine,
        root: str = "/",
        process: Mapping[str, Any] = MappingProxyType({}),
        *,
        host_network: bool = False,
        host_users: bool = True,
    ) -> None:
        """Make it. runc is installed."""
        self.machine = machine
        self._process = process
        self._numbers = itertools.count()
        self.folder = machine.run(["mktemp", "-d", "/run/bundle-XXX"]).stdout.strip()
        # A container that has ids of its own goes through it.
        machine.run(["chmod", "0711", self.folder])
        machine.run(["mkdir", f"{self.folder}/rootfs"])
        machine.run(["mount", "--bind", root, f"{self.folder}/rootfs"])
        machine.run(["runc", "spec"], cwd=self.folder)
        self._spec = json.loads(machine.read(f"{self.folder}/config.json"))
        # A kubelet sets no limits of setrlimit(2).
        del self._spec["process"]["rlimits"]
        if host_network:
            for kind in ("network", "uts"):
                self._spec["linux"]["namespaces"].remove({"type": kind})
            del self._spec["hostname"]
            hosts = {"type": "bind", "source": "/etc/hosts", "options": ["rbind", "ro"]}
            self._spec["mounts"].append({"destination": "/etc/hosts", **hosts})
        if not host_users:
            self._spec["linux"]["namespaces"].append({"type": "user"})
            mappings = [{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]
            self._spec["linux"] |= {"uidMappings": mappings, "gidMappings": mappings}
        self._profile = json.loads(machine.read("/usr/share/containers/seccomp.json"))

    def write(
        self,
        command: Sequence[str],
        context: SecurityContext,
        mounts: Sequence[dict[str, Any]] = (),
        devices: Sequence[dict[str, Any]] = (),
    ) -> list[str]:
        """Write config.json, and return the words that run it as a container of a new name.

        `mounts` and `devices`: more of them, in the words of runtime-spec.
        """
        spec = json.loads(json.dumps(self._spec))
        capabilities = sorted(f"CAP_{name}" for name in context.capabilities)
        spec["process"] |= {
            "terminal": False,
            "user": {
                "uid": context.run_as_user,
                "gid": context.run_as_group,
                "additionalGids": context.groups,
            },
            "args": list(command),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            # No inheritable and no ambient ones, which is why a uid of its own has none.
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": not context.allow_privilege_escalation,
            **self._process,
        }
        spec["root"] = {"path": "rootfs", "readonly": context.read_only_root_filesystem}
        spec["mounts"] += mounts
        spec["linux"]["devices"] = list(devices)
        numbers = ({key: device[key] for key in ("type", "major", "minor")} for device in devices)
        spec["linux"]["resources"]["devices"] += (
            {"allow": True, "access": "rwm", **number} for number in numbers
        )
        if context.seccomp == "RuntimeDefault":
            spec["linux"]["seccomp"] = select_filter(self._profile, context.capabilities)
        self.machine.write(f"{self.folder}/config.json", json.dumps(spec))
        name = f"{Path(self.folder).name}-{next(self._numbers)}"
        return ["runc", "run", "--bundle", self.folder, name]

    def run(
        self, command: Sequence[str], context: SecurityContext, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        return self.machine.run(self.write(command, context, **more), check=False)
