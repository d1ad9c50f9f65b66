"""The demo's modes: what each needs in the machine, and what it shows."""

from __future__ import annotations

from machine.caches import Cache
from machine.hub import Hub, HubError
from machine.installation import REPOSITORY, install_sudoers
from machine.kernel import Kernel
from machine.machine import Machine

POLICY = """\
hub_users = ["rhea"]

[targets]
groups = ["jupyterhub"]

[accounts]
create = "/etc/sudospawner/create-account"

[hooks]
after_dir = "/etc/sudospawner/afterhooks.d"

[server]
pam_service = "sudospawner"
no_new_privileges = true
"""
PROGRAM = REPOSITORY / "examples/accounts/create-account"
PAM_SERVICE = REPOSITORY / "examples/pam/sudospawner"

# The Hub requests less than the policy allows: its limits apply, and the policy's task limit.
POLICY_OF_UNITS = f"""\
{POLICY}launcher = "systemd"

[limits]
memory = "2G"
cpus = 2.0
tasks = 512
"""

HOOK = """\
#!/bin/sh
set -eu
mkdir -p /mnt/scratch
mount -t tmpfs -o "nosuid,nodev,size=16M,mode=0700,uid=$SUDOSPAWNER_UID,gid=$SUDOSPAWNER_GID" \\
    scratch /mnt/scratch
echo "$(id -un) mounted this for $SUDOSPAWNER_USER" >/mnt/scratch/README
echo "16 MiB of scratch space are in /mnt/scratch"
"""

AFTER_HOOK = """\
#!/bin/sh
set -eu
how=${SUDOSPAWNER_EXIT:+exit status $SUDOSPAWNER_EXIT}
how=${how:-signal ${SUDOSPAWNER_SIGNAL:-unknown}}
echo "the server of $SUDOSPAWNER_USER ran for $SUDOSPAWNER_SECONDS s: $how" >>/var/log/servers
"""

# The lines of /proc/PID/status that show the privileges of a process.
PRIVILEGES = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPriv")


def show(text: str) -> None:
    """Print lines, indented below the steps and cut to the width of a terminal."""
    print("\n" + "\n".join(f"  {line[:150]}".rstrip() for line in text.splitlines()), flush=True)


class UserMode:
    """sudo switches to the user and then runs the mediator; nothing else runs as root."""

    configuration = ""
    """More lines for the Hub's configuration."""
    cell = "a cell that tells its account"
    """What `run_cell` does."""
    user = "zoe"
    """Whose server is shown."""

    def install(self, machine: Machine, environment: Cache) -> None:
        """Install the rules."""
        install_sudoers(machine, environment)

    def show_server(self, hub: Hub, user: str) -> None:
        """Print the processes of the Hub and the user: Hub, supervisor, server."""
        ps = ["ps", "--user", f"rhea,{user}", "--format", "user:6,pid,ppid,rss,args", "--forest"]
        show(hub.machine.run(ps).stdout + "\n")

    def run_cell(self, kernel: Kernel, user: str) -> str:
        """Run a cell and return its output; `HubError` if the output is wrong."""
        account = kernel.run("import getpass; print(getpass.getuser())").strip()
        if account != user:
            raise HubError(f"The cell ran as {account}, not as {user}.")
        return account

    def show_end(self, machine: Machine) -> None:
        """Print what is to be seen when a server has been stopped."""

    def find_remains(self, machine: Machine, user: str) -> str:
        """Return what is left of a stopped server: empty if all is well."""
        ps = ["ps", "--user", user, "--format", "stat=,pid=,args="]
        lines = machine.run(ps, check=False).stdout.splitlines(keepends=True)
        # A zombie waits for PID 1 to reap it.
        # logind keeps the systemd of a user's session for ten seconds.
        kept = ("systemd --user", "(sd-pam)")
        left = [line for line in lines if not line.rstrip().endswith(kept)]
        return "".join(line for line in left if not line.startswith("Z"))


class RootMode(UserMode):
    """The mediator runs as root, with a policy and a hook that mounts something.

    The account is made at its server's start. The server has a session of PAM's and, at its end,
    a hook.
    """

    configuration = 'c.SudoSpawner.mode = "root"\nc.Authenticator.allowed_users |= {"simon"}\n'
    user = "simon"
    cell = "a cell that reads what the hook has mounted"
    policy = POLICY
    """The policy that is installed."""

    def install(self, machine: Machine, environment: Cache) -> None:
        """Install the rules, and what root has beside them."""
        install_sudoers(machine, environment, fragment="sudospawner-root-mode")
        self.install_policy(machine)

    def install_policy(self, machine: Machine) -> None:
        """Install the policy, the hooks, what makes accounts, and the service of PAM's."""
        machine.write("/etc/sudospawner/policy.toml", self.policy)
        machine.write("/etc/sudospawner/roothooks.d/10-scratch", HOOK, mode=0o755)
        machine.write("/etc/sudospawner/afterhooks.d/10-note", AFTER_HOOK, mode=0o755)
        machine.write("/etc/pam.d/sudospawner", PAM_SERVICE.read_bytes())
        machine.write("/etc/sudospawner/create-account", PROGRAM.read_bytes(), mode=0o755)
        self._before = machine.run(["id", self.user], check=False).stderr

    def show_server(self, hub: Hub, user: str) -> None:
        """Print the policy, the hook, its line in the Hub's log, the processes and privileges.

        Before that, the account that did not exist.
        """
        show(f"/etc/sudospawner/policy.toml:\n\n{self.policy}")
        if "no such user" not in self._before:
            raise HubError(f"The account exists before its first server: {self._before}")
        after = hub.machine.run(["id", user]).stdout
        home = hub.machine.run(["ls", "-ld", f"/home/{user}"]).stdout
        show(f"before: {self._before}after:  {after}        {home}")
        show(f"/etc/sudospawner/roothooks.d/10-scratch:\n\n{HOOK}")
        log = [line for line in hub.read_log().splitlines() if "Hook 10-scratch" in line]
        if not log:
            raise HubError("The Hub's log does not mention the hook.", hub.read_log())
        show("the Hub's log:\n\n" + "\n".join(log))
        sessions = hub.machine.run(["loginctl", "list-sessions", "--no-pager"]).stdout
        if user not in sessions:
            raise HubError(f"The server has no session:\n{sessions}")
        show(f"loginctl list-sessions:\n\n{sessions}")
        pid = hub.find_pid(user)
        status = hub.machine.read(f"/proc/{pid}/status").splitlines()
        lines = [line.expandtabs(12) for line in status if line.startswith(PRIVILEGES)]
        show(f"the server, /proc/{pid}/status:\n\n" + "\n".join(lines))
        seers = self._find_seers(hub.machine)
        if "1" in seers:
            raise HubError("The whole machine sees the hook's mount.")
        show(f"the processes that see /mnt/scratch: {', '.join(seers)}")
        super().show_server(hub, user)

    def run_cell(self, kernel: Kernel, user: str) -> str:
        """Make the server read from the mount and write to it."""
        read = "print(open('/mnt/scratch/README').read())"
        printed = kernel.run(f"open('/mnt/scratch/notes', 'w').write('mine'); {read}").strip()
        if printed != f"root mounted this for {user}":
            raise HubError(f"The cell printed {printed!r}.")
        return printed

    def show_end(self, machine: Machine) -> None:
        """Print the hook after the server, and what it has written."""
        show(f"/etc/sudospawner/afterhooks.d/10-note:\n\n{AFTER_HOOK}")
        show("/var/log/servers:\n\n" + machine.read("/var/log/servers") + "\n")

    def find_remains(self, machine: Machine, user: str) -> str:
        """Return the user's processes, and other processes that still have the mount."""
        seers = self._find_seers(machine)
        mounted = f"/mnt/scratch, for the processes {', '.join(seers)}\n" if seers else ""
        return super().find_remains(machine, user) + mounted

    def _find_seers(self, machine: Machine) -> list[str]:
        grep = "grep --no-messages --files-with-matches ' /mnt/scratch ' /proc/[0-9]*/mountinfo"
        return [path.split("/")[2] for path in machine.run(grep, check=False).stdout.split()]


class UnitMode(RootMode):
    """Root mode, where each server is a systemd unit with limits."""

    configuration = (
        RootMode.configuration + 'c.Spawner.mem_limit = "1G"\nc.Spawner.cpu_limit = 1.5\n'
    )
    policy = POLICY_OF_UNITS

    def show_server(self, hub: Hub, user: str) -> None:
        """Print what root mode shows, and the unit and its limits."""
        super().show_server(hub, user)
        unit = f"jupyter-{user}.service"
        status = ["systemctl", "status", "--full", "--no-pager", "--lines=3", unit]
        show(f"systemctl status {unit}:\n\n" + hub.machine.run(status).stdout)
        limits = "MemoryMax,MemorySwapMax,CPUQuotaPerSecUSec,TasksMax,OOMPolicy,Slice"
        shown = hub.machine.run(["systemctl", "show", f"--property={limits}", unit]).stdout
        if f"MemoryMax={1 << 30}\n" not in shown:
            raise HubError(f"The Hub's mem_limit is not the unit's:\n{shown}")
        show(f"systemctl show {unit}:\n\n{shown}\n")

    def find_remains(self, machine: Machine, user: str) -> str:
        """Return remaining processes, mounts, and units."""
        units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "jupyter-*.service"]
        return super().find_remains(machine, user) + machine.run(units).stdout


# What sudo cannot work under.
CONFINED = """\
[Service]
NoNewPrivileges=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RestrictNamespaces=yes
RestrictSUIDSGID=yes
"""
SOCKET_UNIT = "sudospawner.socket"
SERVICE = "sudospawner.service"


class SocketMode(UnitMode):
    """Root mode without sudo: the Hub may gain no rights, and calls through a socket."""

    configuration = UnitMode.configuration.replace('"root"', '"socket"')

    def __init__(self, port: int) -> None:
        """Use the Hub at this port."""
        self._hub_unit = f"jupyterhub-{port}.service"

    def install(self, machine: Machine, environment: Cache) -> None:
        """Install socket, service, policy and hook, and what confines the Hub; no rule of sudo."""
        program = environment.bin / "sudospawner"
        for unit, option in [(SOCKET_UNIT, "--group=rhea"), (SERVICE, "--service")]:
            text = machine.run([program, "socket", option]).stdout
            machine.write(f"/etc/systemd/system/{unit}", text)
        machine.write(f"/etc/systemd/system/{self._hub_unit}.d/socket.conf", CONFINED)
        machine.run(["systemctl", "daemon-reload"])
        machine.run(["systemctl", "start", SOCKET_UNIT])
        self.install_policy(machine)

    def show_server(self, hub: Hub, user: str) -> None:
        """Print what root mode shows, and what the Hub and the door may do."""
        super().show_server(hub, user)
        socket = "/run/sudospawner.socket"
        show(hub.machine.run(["ls", "-l", socket]).stdout)
        status = hub.machine.read(f"/proc/{hub.pid}/status").splitlines()
        lines = [line.expandtabs(12) for line in status if line.startswith(PRIVILEGES)]
        if "NoNewPriv" not in lines[-1] or not lines[-1].endswith("1"):
            raise HubError(f"The Hub may gain rights: {lines}")
        show(f"the Hub, /proc/{hub.pid}/status:\n\n" + "\n".join(lines))
        unit = ["systemctl", "status", "--full", "--no-pager", "--lines=5", SERVICE]
        show(f"systemctl status {SERVICE}:\n\n" + hub.machine.run(unit, check=False).stdout)
