"""`jsd-helper` with real units: what it starts, and every way to ask for more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.kernel import Kernel
from machine.machine import Machine
from system.jsd import POLICY, SERVER, UNIT, Helper
from system.mediator import wait_until

DEBIANS = (13, 12)

RUN = "/run/jhub/jsu-zoe"
LIMITED = """
[server]
no_new_privileges = true
[limits]
memory = "1G"
cpus = 1.5
tasks = 99
[systemd]
slice = "jhub.slice"
private_tmp = true
read_only_paths = ["/srv"]
properties = { Nice = "5", Description = "server of {USERNAME}" }
"""


@pytest.fixture(scope="module")
def installed_helper(machine: Machine, hub6: Cache) -> Helper:
    """The program of the wheel, setuid."""
    return Helper(machine, hub6.bin / "jsd-helper")


@pytest.fixture
def helper(installed_helper: Helper) -> Iterator[Helper]:
    """The same with a policy; no unit runs before or after a test."""
    installed_helper.set_policy('[systemd]\nslice = "jhub.slice"\n')
    yield installed_helper
    installed_helper.remove_all()


def test_a_server_is_started_as_its_target_within_the_policy(helper: Helper) -> None:
    machine = helper.machine
    zoe = machine.look_up_account("zoe")
    helper.set_policy(LIMITED)
    values = {"JUPYTERHUB_API_TOKEN": "secret-4711", "PATH": "/bin", "X": "$A %h {b} 'c' \"d\"\n e"}
    seen = helper.start(
        helper.write_variables(values),
        "--slice=jhub-node08",
        *("--property=MemoryAccounting=yes", "--property=MemoryMax=536870912"),
        *("--property=CPUQuota=50%", "--property=RuntimeDirectory=jhub/jsu-zoe"),
        *("--property=RuntimeDirectoryMode=755", "--property=RuntimeDirectoryPreserve=restart"),
        *("--property=ReadOnlyDirectories=/mnt", "--property=ReadOnlyDirectories=-/media"),
    )
    assert (seen["uids"], seen["gids"]) == ([zoe.uid] * 3, [zoe.gid] * 3)
    group = int(machine.run(["getent", "group", "jupyterhub"]).stdout.split(":")[2])
    assert set(seen["groups"]) == {zoe.gid, group}
    assert (seen["cwd"], int(seen["capabilities"], 16), seen["umask"]) == (zoe.home, 0, 0o022)
    assert seen["descriptors"] == ["0", "1", "2"]
    assert {name: seen["env"].get(name) for name in values} == values
    shown = helper.show(
        *("Slice", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "PrivateTmp", "Nice", "Type"),
        *("ReadOnlyPaths", "NoNewPrivileges", "CapabilityBoundingSet", "Description", "OOMPolicy"),
        *("LimitNOFILE", "RuntimeDirectory", "User"),
    )
    assert shown == {
        "Slice": "jhub-node08.slice",
        "MemoryMax": "536870912",
        "CPUQuotaPerSecUSec": "500ms",
        "TasksMax": "99",
        "PrivateTmp": "yes",
        "Nice": "5",
        "Type": "exec",
        "ReadOnlyPaths": "/srv /mnt -/media",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "Description": "server of zoe",
        "OOMPolicy": "continue",
        "LimitNOFILE": "65536",
        "RuntimeDirectory": "",
        "User": str(zoe.uid),
    }


def test_the_variables_are_in_the_server_and_nowhere_else(helper: Helper) -> None:
    machine = helper.machine
    option = helper.write_variables({"JUPYTERHUB_API_TOKEN": "secret-4711"})
    assert helper.start(option)["env"]["JUPYTERHUB_API_TOKEN"] == "secret-4711"
    assert machine.run(["ls", "-A", RUN]).stdout == ""
    for place in ("systemctl show jsu-zoe", "cat /proc/[0-9]*/cmdline", "journalctl --no-pager"):
        assert "secret-4711" not in machine.run(f"{place} | tr '\\0' ' '").stdout
    grep = "grep --recursive --files-with-matches --devices=skip secret-4711 /run /etc /tmp"
    assert machine.run(grep, check=False).stdout == ""
    environ = f"cat /proc/{helper.show('MainPID')['MainPID']}/environ"
    for user in ("wash", "rhea"):
        assert machine.run(environ, user=user, check=False).returncode != 0


def test_it_works_through_sudo_as_well(helper: Helper, hub6: Cache) -> None:
    machine, rule = helper.machine, "/etc/sudoers.d/jsd-helper"
    machine.write(rule, f"rhea ALL=(root) NOPASSWD: {hub6.bin}/jsd-helper\n", mode=0o440)
    sudo = ["sudo", "-n", hub6.bin / "jsd-helper"]
    option = helper.write_variables({"A": "b"})
    words = helper.list_words(option, uid="zoe", gid="zoe")
    assert machine.run([*sudo, *words], user="rhea", check=False).returncode == 0
    assert helper.is_running()
    machine.run([*sudo, "systemctl", "stop", UNIT], user="rhea")
    assert not helper.is_running()
    # The group of root may be had through sudo, and not by the file's owner.
    machine.write(f"{RUN}/{UNIT}.env", "A=root's", mode=0o440)
    refused = machine.run([*sudo, *words], user="rhea", check=False)
    assert (refused.returncode, "Permission denied" in refused.stderr) == (99, True)
    machine.run(["rm", rule])


PROPERTIES = [
    "ExecStartPre=+/bin/sh -c id", "ExecStartPre=!/bin/sh", "ExecStart=/bin/sh",
    "ExecStop=+/bin/sh", "ExecStopPost=+/bin/sh", "ExecStartPost=+/bin/sh", "ExecReload=+/bin/sh",
    "ExecCondition=+/bin/sh", "User=root", "Group=root", "SupplementaryGroups=shadow",
    "DynamicUser=yes", "PAMName=su", "AmbientCapabilities=CAP_SYS_ADMIN",
    "CapabilityBoundingSet=~", "SecureBits=keep-caps", "PermissionsStartOnly=yes",
    "RootDirectory=/srv", "RootImage=/srv/image", "MountImages=/a:/b", "BindPaths=/tmp:/etc",
    "BindReadOnlyPaths=/tmp/shadow:/etc/shadow", "TemporaryFileSystem=/etc",
    "InaccessiblePaths=/etc", "StandardOutput=file:/etc/cron.d/x",
    "StandardInput=file:/etc/shadow", "StandardError=append:/etc/passwd",
    "LoadCredential=a:/etc/shadow", "SetCredential=a:b", "StateDirectory=../etc",
    "LogsDirectory=x", "CacheDirectory=x", "ConfigurationDirectory=x", "PIDFile=/run/x",
    "Slice=system.slice", "Delegate=yes", "DeviceAllow=/dev/sda rw", "DevicePolicy=auto",
    "Environment=LD_PRELOAD=/tmp/x", "PassEnvironment=A", "Sockets=ssh.socket",
    "OnFailure=x.service", "OnSuccess=x.service", "FailureAction=reboot", "SuccessAction=poweroff",
    "StartLimitAction=reboot", "Requires=x.service", "Conflicts=ssh.service", "BindsTo=x.service",
    "Restart=always", "WatchdogSec=1", "OOMScoreAdjust=-1000", "Nice=-20",
    "CPUSchedulingPolicy=fifo", "IOSchedulingClass=realtime", "CPUWeight=10000", "KillMode=none",
    "KillSignal=9", "NotifyAccess=all", "BusName=org.x", "Type=dbus", "USBFunctionStrings=/a",
    "NetworkNamespacePath=/proc/1/ns/net", "JoinsNamespaceOf=ssh.service", "ReadWritePaths=/srv",
    "MemoryMax=2G", "MemoryMax=infinity", "MemoryMax=100%", "MemoryHigh=1M",
    "MemoryLimit=1M", "IOAccounting=yes", "MemorySwapMax=1",
    "MemorySwapMax=infinity", "CPUQuota=151%", "CPUQuota=", "TasksMax=100", "TasksMax=infinity",
    "LimitNOFILE=65537", "LimitNOFILE=infinity", "LimitRTPRIO=99", "LimitNICE=40",
    "LimitMEMLOCK=infinity", "PrivateTmp=no", "NoNewPrivileges=no", "MemoryAccounting=no",
    "OOMPolicy=", "UnknownProperty=1", "privatetmp=yes", " PrivateTmp=yes",
    "PrivateTmp=yes\nExecStartPre=+/bin/sh", "RuntimeDirectory=jhub/jsu-wash",
    "RuntimeDirectory=jhub", "RuntimeDirectory=jhub/jsu-zoe ssh", "RuntimeDirectory=../etc",
    "RuntimeDirectory=", "RuntimeDirectoryMode=777", "RuntimeDirectoryMode=6755",
    "EnvironmentFile=/etc/shadow", "EnvironmentFile=-/run/jhub/jsu-zoe/a",
    "EnvironmentFile=/run/jhub/jsu-wash/a.env", "EnvironmentFile=/run/jhub/jsu-zoe/../a",
    "EnvironmentFile=/run/jhub/jsu-zoe/b/a", "EnvironmentFile=/run/jhub/jsu-zoe/..",
    "EnvironmentFile=/run/jhub/jsu-zoe/*", "EnvironmentFile=/run/jhub/jsu-zoe/missing",
    "EnvironmentFile=run/jhub/jsu-zoe/a", "ReadOnlyPaths=/home/zoe/a", "ReadOnlyPaths=/tmp/a",
    "ReadOnlyPaths=/home/../etc",
]  # fmt: skip


@pytest.mark.parametrize("text", PROPERTIES)
def test_a_property_that_is_not_on_the_list_or_above_the_policy_starts_nothing(
    helper: Helper, text: str
) -> None:
    helper.set_policy(LIMITED)
    assert_refused(helper, helper.list_words(f"--property={text}"))


def assert_refused(helper: Helper, words: list[str], sentence: str = "", **how: object) -> None:
    """Exit status 99, one line on stderr (with `sentence` in it), nothing on stdout, no unit."""
    run = helper.call(words, **how)
    assert (run.returncode, run.stdout) == (99, ""), run.stderr
    assert run.stderr.startswith("[E jsd-helper] ") and run.stderr.count("\n") == 1, run.stderr
    assert sentence in run.stderr
    state = helper.show("LoadState", "ActiveState")
    assert state == {"LoadState": "not-found", "ActiveState": "inactive"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"uid": "0"}, "root is never a target"),
        ({"uid": "root"}, "root is never a target"),
        ({"uid": "00"}, "no account"),
        ({"uid": "1"}, "below targets.min_uid"),
        ({"uid": "daemon"}, "below targets.min_uid"),
        ({"uid": "rhea"}, "is one of hub_users"),
        ({"uid": "mal"}, "neither in targets.users nor"),
        ({"uid": "closed"}, "shell lets nobody log in"),
        ({"uid": "-1"}, "no account"),
        ({"uid": "4294967295"}, "no account"),
        ({"uid": "4294967296"}, "no account"),
        ({"uid": "+1001"}, "no account"),
        ({"uid": ""}, "no account"),
        ({"uid": "zoe "}, "no account"),
        ({"uid": "ZOE"}, "no account"),
        ({"uid": None}, "--uid is missing"),
        ({"gid": "0"}, "primary group of zoe"),
        ({"gid": "root"}, "primary group of zoe"),
        ({"gid": "shadow"}, "primary group of zoe"),
        ({"gid": "jupyterhub"}, "primary group of zoe"),
        ({"gid": "-1"}, "primary group of zoe"),
        ({"gid": ""}, "primary group of zoe"),
        ({"gid": None}, "--gid is missing"),
        ({"unit": None}, "--unit is missing"),
        ({"unit": "jsu-"}, "unit's name"),
        ({"unit": "zoe"}, "unit's name"),
        ({"unit": "ssh.service"}, "unit's name"),
        ({"unit": "jsu-../ssh"}, "unit's name"),
        ({"unit": "jsu-*"}, "unit's name"),
        ({"unit": "jsu-zoe.slice"}, "unit's name"),
        ({"unit": "jsu-zoe.timer"}, "unit's name"),
        ({"unit": "jsu-zoe.mount"}, "unit's name"),
        ({"unit": "jsu-zoe@x.service"}, "unit's name"),
        ({"unit": "jsu-zoe\n"}, "unit's name"),
        ({"unit": "jsu-" + "z" * 250}, "unit's name"),
        ({"directory": None}, "--working-directory is missing"),
        ({"directory": "/root"}, "working directory"),
        ({"directory": "/home/zoe/../../root"}, "working directory"),
        ({"directory": "/home/zoey"}, "working directory"),
        ({"directory": "home/zoe"}, "working directory"),
        ({"directory": ""}, "working directory"),
        ({"program": "/bin/sh"}, "jupyterhub-singleuser"),
        ({"program": "jupyterhub-singleuser"}, ""),
        ({"program": "/tmp/jupyterhub-singleuser"}, "/tmp can be written"),
        ({"program": "/opt/jsd/bin/../bin/jupyterhub-singleuser"}, "without dots"),
        ({"program": "/opt/jsd/bin/jupyterhub-singleuser/"}, ""),
        ({"program": "/opt/jsd/link/jupyterhub-singleuser"}, "symbolic link"),
        ({"program": "/opt/jsd/missing/jupyterhub-singleuser"}, "does not exist"),
        ({"program": "/opt/jsd/plain/jupyterhub-singleuser"}, "cannot be executed"),
        ({"program": "/opt/jsd/others/jupyterhub-singleuser"}, "belongs to uid"),
        ({"program": None}, ""),
    ],
    ids=str,
)
def test_a_server_of_anyone_else_or_another_program_is_not_started(
    helper: Helper, changes: dict[str, str | None], sentence: str
) -> None:
    machine = helper.machine
    machine.run("id closed || useradd -m -G jupyterhub -s /usr/sbin/nologin closed", check=False)
    # Whatever its uid is, the Hub's account is refused for what it is.
    helper.set_policy('[targets]\ngroups = ["jupyterhub"]\nmin_uid = 500\n')
    machine.run("mkdir -p /opt/jsd/plain && ln -sfn bin /opt/jsd/link")
    machine.write("/opt/jsd/plain/jupyterhub-singleuser", "#!/bin/sh\n")
    machine.write("/opt/jsd/others/jupyterhub-singleuser", "#!/bin/sh\n", owner="zoe", mode=0o755)
    machine.write("/tmp/jupyterhub-singleuser", "#!/bin/sh\n", mode=0o755)
    words = helper.list_words("--property=PrivateTmp=yes", "--slice=jhub", args=["a"], **changes)
    assert_refused(helper, words, sentence)


@pytest.mark.parametrize(
    "options",
    [
        ["--slice=system.slice"],
        ["--slice=-.slice"],
        ["--slice=jhubx"],
        ["--slice=jhub.service"],
        ["--slice=jhub-"],
        ["--slice=../jhub"],
        ["--slice="],
        ["--slice=jhub", "--slice=jhub"],
        ["--unit", "jsu-wash"],
        ["--unit=jsu-zoe"],
        ["--uid=0"],
        ["--gid=0"],
        ["--working-directory=/root"],
        ["--property=PrivateTmp=yes", "--property=PrivateTmp=yes"],
        ["--property=EnvironmentFile=/etc/shadow", "--property=EnvironmentFile=/etc/passwd"],
        ["--property"],
        ["-p", "User=root"],
        ["-pUser=root"],
        ["--user"],
        ["--scope"],
        ["--pty"],
        ["--pipe"],
        ["--shell"],
        ["--remain-after-exit"],
        ["--on-active=1"],
        ["--path-property=PathExists=/"],
        ["--setenv=A=b"],
        ["--machine=host"],
        ["-H", "root@host"],
        ["--no-block"],
        ["--"],
        ["-"],
        ["--unit\n"],
    ],
    ids=" ".join,
)
def test_an_option_that_is_repeated_unknown_or_leads_outside_is_refused(
    helper: Helper, options: list[str]
) -> None:
    assert_refused(helper, helper.list_words(*options))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 1),
        (["systemd-run"], 1),
        (["systemctl", "stop"], 1),
        (["systemd-run", "--unit", "jsu-zoe", "--uid=0"], 1),
        (["sh", "-c", "id"], 99),
        (["/usr/bin/systemctl", "stop", "jsu-zoe"], 99),
        (["systemctl", "start", "jsu-zoe"], 99),
        (["systemctl", "kill", "jsu-zoe"], 99),
        (["systemctl", "edit", "jsu-zoe"], 99),
        (["systemctl", "--force", "jsu-zoe"], 99),
        (["systemctl", "stop", "jsu-*"], 99),
        (["systemctl", "stop", "*"], 99),
        (["systemctl", "stop", "ssh"], 99),
        (["systemctl", "stop", "jsu-zoe", "ssh"], 99),
        (["systemctl", "stop", "jsu-zoe.socket"], 99),
        (["systemctl", "stop", "--all"], 99),
        (["systemctl", "stop", "jhub.slice"], 99),
        (["systemctl", "stop", "system.slice"], 99),
        (["systemctl", "stop", "-.slice"], 99),
        (["systemctl", "reset-failed", "jhub.slice"], 99),
    ],
    ids=str,
)
def test_missing_words_are_a_usage_and_all_but_two_verbs_are_refused(
    helper: Helper, words: list[str], status: int
) -> None:
    run = helper.call(words)
    assert (run.returncode, run.stdout) == (status, ""), run.stderr
    assert run.stderr.count("\n") == 1


def test_stop_ends_the_unit_with_all_in_it_and_nothing_else(helper: Helper) -> None:
    # One of the processes that are left ignores SIGTERM.
    helper.set_policy('[systemd]\nproperties = { TimeoutStopSec = "1" }\n')
    helper.start(args=["leave"])
    helper.machine.run("systemd-run --unit=jsu-zoex sleep 9999")
    assert helper.call(["systemctl", "stop", "jsu-zoe.service"]).returncode == 0
    assert not helper.is_running()
    ps = ["ps", "--user", "zoe", "--format", "args="]
    assert helper.machine.run(ps, check=False).stdout == ""
    assert helper.is_running("jsu-zoex")


def test_a_failed_unit_is_forgotten_and_can_be_started_again(helper: Helper) -> None:
    assert helper.call(helper.list_words(args=["exit", "3"])).returncode == 0
    wait_until(lambda: helper.show("ActiveState")["ActiveState"] == "failed", "the failure")
    # Neither a second unit of that name, nor a command line that root wrote, is replaced.
    assert helper.call(helper.list_words()).returncode == 1
    assert helper.call(["systemctl", "reset-failed", UNIT]).returncode == 0
    assert helper.start()["cwd"] == "/home/zoe"


def test_a_unit_that_is_restarted_by_hand_ends_and_starts_nothing(helper: Helper) -> None:
    helper.start()
    # By now any process may have the pid by which systemd knows the variables.
    assert helper.machine.run(["systemctl", "restart", UNIT], check=False).returncode != 0
    assert helper.show("Result")["Result"] == "start-limit-hit"
    assert helper.call(["systemctl", "reset-failed", UNIT]).returncode == 0


def test_the_slice_is_stopped_only_where_the_policy_lets_it(helper: Helper) -> None:
    helper.set_policy('[systemd]\nslice = "jhub.slice"\nallow_slice_stop = true\n')
    helper.start("--slice=jhub-node08")
    for other in ("jhubx.slice", "system.slice"):
        assert helper.call(["systemctl", "stop", other]).returncode == 99
    assert helper.is_running()
    assert helper.call(["systemctl", "stop", "jhub.slice"]).returncode == 0
    assert not helper.is_running()


def test_the_program_is_in_the_directory_that_the_policy_names(helper: Helper) -> None:
    machine = helper.machine
    machine.run(f"install -D {SERVER} /opt/jsd/other/jupyterhub-singleuser")
    helper.set_policy('[server]\ndirectory = "/opt/jsd/other"\n[systemd]\nslice = "jhub"\n')
    assert_refused(helper, helper.list_words(), "/opt/jsd/other")
    assert helper.start(program="/opt/jsd/other/jupyterhub-singleuser")["cwd"] == "/home/zoe"


@pytest.mark.parametrize(
    "make",
    [
        f"ln -s /etc/shadow {RUN}/a.env",
        f"ln -s /run/jhub/real {RUN}/a.env; echo A=b >/run/jhub/real",
        f"rmdir {RUN} && ln -s /etc {RUN}",
        f"mkfifo {RUN}/a.env",
        f"mkdir {RUN}/a.env",
        f"truncate --size=5M {RUN}/a.env",
        f"touch {RUN}/a.env && chmod 0 {RUN}/a.env",
    ],
)
def test_variables_are_read_with_the_callers_rights_and_from_a_file_alone(
    helper: Helper, make: str
) -> None:
    helper.machine.run(f"mkdir -p {RUN} && {make}", user="rhea")
    name = "shadow" if "/etc " in make else "a.env"
    option = f"--property=EnvironmentFile={RUN}/{name}"
    assert_refused(helper, helper.list_words(option), "EnvironmentFile")
    assert helper.machine.run("test -s /etc/shadow", check=False).returncode == 0


def test_whoever_calls_a_setuid_copy_is_who_they_are(helper: Helper) -> None:
    machine = helper.machine
    machine.run(["install", "--mode=4755", helper.path, "/opt/jsd/jsd-helper"])
    rhea = machine.look_up_account("rhea").uid
    for env in ({}, {"SUDO_UID": "0"}, {"SUDO_UID": str(rhea)}, {"SUDO_USER": "rhea"}):
        run = machine.run(
            ["/opt/jsd/jsd-helper", *helper.list_words()], user="mal", env=env, check=False
        )
        assert (run.returncode, "hub_users" in run.stderr) == (99, True), run.stderr
        stop = ["/opt/jsd/jsd-helper", "systemctl", "stop", UNIT]
        assert machine.run(stop, user="mal", env=env, check=False).returncode == 99
    for env in ({"DOAS_USER": "rhea"}, {"PKEXEC_UID": "0"}, {"SUDO_UID": "x"}):
        assert_refused(helper, helper.list_words(), "caller is unknown", env=env)
    machine.run(["install", "--mode=755", helper.path, "/opt/jsd/jsd-helper"])
    run = machine.run(["/opt/jsd/jsd-helper", *helper.list_words()], user="rhea", check=False)
    assert (run.returncode, "not root" in run.stderr) == (99, True)


def test_nothing_of_the_callers_environment_has_any_effect(helper: Helper) -> None:
    machine = helper.machine
    for name in ("systemd-run", "systemctl", "jupyterhub-singleuser"):
        machine.write(f"/tmp/evil/{name}", "#!/bin/sh\ntouch /tmp/evil/ran\n", mode=0o755)
    env = {
        "PATH": "/tmp/evil",
        "LD_PRELOAD": "/tmp/evil/x.so",
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/tmp/evil/bus",
        "SYSTEMD_LOG_LEVEL": "debug",
        "SYSTEMCTL_FORCE_BUS": "1",
        "SYSTEMD_PAGER": "/tmp/evil/systemctl",
        "RUST_LOG": "trace",
        "SUDOSPAWNER_POLICY": "/tmp/evil/policy.toml",
    }
    # Set by env(1), else the programs that bring the call into the machine would have it, too.
    call = ["env", *(f"{name}={value}" for name, value in env.items()), helper.path]
    words = helper.list_words(args=["report", "/home/zoe/jsd-report"])
    run = machine.run([*call, *words], user="rhea", cwd="/tmp", check=False)
    assert run.returncode == 0
    # systemd since 255 says more: "; invocation ID: …".
    assert run.stderr.partition(";")[0].strip() == "Running as unit: jsu-zoe.service"
    wait_until(lambda: machine.run("cat /home/zoe/jsd-report", check=False).stdout, "the report")
    seen = json.loads(machine.read("/home/zoe/jsd-report"))["env"]
    assert not set(env) - {"PATH"} & set(seen) and "/tmp/evil" not in seen["PATH"]
    machine.run([*call, "systemctl", "stop", UNIT], user="rhea")
    assert machine.run("test -e /tmp/evil/ran", check=False).returncode == 1
    machine.run("rm -r /tmp/evil")


def test_without_a_policy_that_is_roots_nothing_is_done(helper: Helper) -> None:
    machine = helper.machine
    for change, sentence in [
        (f"chmod 666 {POLICY}", "not trusted"),
        (f"chown rhea {POLICY}", "not trusted"),
        (f"echo 'x = 1' >>{POLICY}", "line"),
        (f"rm {POLICY}", "needs the policy file"),
    ]:
        helper.set_policy()
        machine.run(change)
        assert_refused(helper, helper.list_words(), sentence)
        assert helper.call(["systemctl", "stop", UNIT]).returncode == 99
        machine.run(["rm", "-f", POLICY])
    helper.set_policy()
    machine.run(["install", "--owner=rhea", "--mode=4755", helper.path, "/opt/jsd/jsd-helper"])
    machine.run("chown root:rhea /opt/jsd/jsd-helper; chmod 4775 /opt/jsd/jsd-helper")
    run = machine.run(["/opt/jsd/jsd-helper", *helper.list_words()], user="rhea", check=False)
    assert (run.returncode, "own file is not trusted" in run.stderr) == (99, True)


def test_every_decision_is_a_line_of_roots_in_the_authentication_log(helper: Helper) -> None:
    machine = helper.machine
    helper.call(helper.list_words("--property=ExecStartPre=+/bin/sh"))
    helper.start()
    helper.call(["systemctl", "stop", UNIT])
    helper.call(helper.list_words(uid="0"))
    machine.run(["journalctl", "--sync"])
    query = ["journalctl", "SYSLOG_IDENTIFIER=jsd-helper", "--output=json", "--lines=4"]
    lines = [json.loads(line) for line in machine.run(query).stdout.splitlines()]
    assert {(line["SYSLOG_FACILITY"], line["_UID"]) for line in lines} == {("10", "0")}
    rhea = machine.look_up_account("rhea").uid
    assert [line["MESSAGE"] for line in lines] == [
        f"caller={rhea} target=zoe action=systemd-run:jsu-zoe.service code=not_permitted",
        f"caller={rhea} target=zoe action=systemd-run:jsu-zoe.service code=ok",
        f"caller={rhea} target=? action=stop:jsu-zoe.service code=ok",
        f"caller={rhea} target=root action=systemd-run:jsu-zoe.service code=target_is_root",
    ]


CONFIGURATION = f"""
c.SystemdSpawner.cmd = ["{cache_named("hub6").bin}/jupyterhub-singleuser"]
c.SystemdSpawner.unit_name_template = "jsu-{{USERNAME}}"
c.SystemdSpawner.unit_extra_properties = {{"RuntimeDirectory": "jhub/jsu-{{USERNAME}}"}}
c.SystemdSpawner.slice = "jhub-node08"
c.SystemdSpawner.mem_limit = "768M"
c.SystemdSpawner.cpu_limit = 1.0
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.readonly_paths = ["/srv"]
c.SystemdSpawner.default_shell = "/bin/bash"
"""


@pytest.fixture
def patched_hub(helper: Helper) -> Iterator[Hub]:
    """A Hub with SystemdSpawner from PyPI, whose commands begin with `jsd-helper`."""
    environment = cache_named("systemdspawner")
    place = f"{environment.path}/lib/python3*/site-packages/systemdspawner/systemd.py"
    module = helper.machine.run(f"ls {place}").stdout.strip()
    original = text = helper.machine.read(module)
    for word, count in (("systemd-run", 1), ("stop", 1), ("reset-failed", 1)):
        before = '        "systemd-run",' if word == "systemd-run" else f'"systemctl", "{word}"'
        assert text.count(before) == count
        text = text.replace(before, f'"jsd-helper", {before.strip()}')
    helper.machine.write(module, text)
    helper.set_policy('[limits]\nmemory = "1G"\n[systemd]\nslice = "jhub.slice"\n')
    spawner = "systemdspawner.SystemdSpawner"
    with Hub(
        helper.machine, environment, spawner=spawner, configuration=CONFIGURATION, port=8030
    ) as hub:
        yield hub
        hub.stop_all_servers()
    helper.machine.write(module, original)


def test_systemdspawner_starts_watches_and_stops_servers_of_a_hub_without_root(
    helper: Helper, patched_hub: Hub
) -> None:
    machine = helper.machine
    zoe = machine.look_up_account("zoe")
    patched_hub.start_server("zoe")
    wait_until(lambda: (patched_hub.find_server("zoe") or {}).get("ready"), "the server", 120)
    with Kernel(patched_hub, "zoe") as kernel:
        look = "import os; print(os.getuid(), os.getcwd(), os.environ['SHELL'])"
        assert kernel.run(look).split() == [str(zoe.uid), zoe.home, "/bin/bash"]
    shown = helper.show("Slice", "MemoryMax", "CPUQuotaPerSecUSec", "PrivateTmp", "ReadOnlyPaths")
    assert shown == {
        "Slice": "jhub-node08.slice",
        "MemoryMax": str(768 << 20),
        "CPUQuotaPerSecUSec": "1s",
        "PrivateTmp": "yes",
        "ReadOnlyPaths": "/srv",
    }
    hub_pid = patched_hub.pid
    assert machine.read(f"/proc/{hub_pid}/status").split("Uid:")[1].split()[0] == str(
        machine.look_up_account("rhea").uid
    )
    # The Hub notices an end that it did not ask for, and can start the server again.
    machine.run(["kill", "-KILL", helper.show("MainPID")["MainPID"]])
    patched_hub.wait_until_gone("zoe")
    patched_hub.start_server("zoe")
    assert helper.is_running()
    patched_hub.stop_server("zoe")
    assert not helper.is_running()
    assert machine.run(["ps", "--user", "zoe", "--format", "args="], check=False).stdout == ""


def test_a_hub_that_asks_for_more_than_the_policy_has_no_server_and_says_why(
    helper: Helper, patched_hub: Hub
) -> None:
    helper.set_policy('[limits]\nmemory = "512M"\n[systemd]\nslice = "jhub.slice"\n')
    # SystemdSpawner waits for the unit as long as it may.
    patched_hub.configure(CONFIGURATION + "c.Spawner.start_timeout = 20\n")
    patched_hub.restart()
    with pytest.raises(HubError):
        patched_hub.start_server("zoe")
    # The whole journal: it may not know any more to which unit so short a process belonged.
    helper.machine.run(["journalctl", "--sync"])
    log = helper.machine.run(["journalctl", "--output=cat", "--lines=200"]).stdout
    assert "limits.memory = 536870912" in log, log
    assert not helper.is_running()


def test_the_package_is_the_one_that_is_published() -> None:
    pins = Path(cache_named("systemdspawner").pins).read_text()
    assert "jupyterhub-systemdspawner==1." in pins
