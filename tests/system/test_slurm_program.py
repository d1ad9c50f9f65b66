"""Nobody else learns a server's tokens, and its program does nothing that its caller could not do.

What others see of a server while it is submitted, starts and runs; `sudospawner-slurm` called by
hand; and ports that somebody else has taken on the node.
"""

from __future__ import annotations

import json

import pytest

from machine.slurm_files import NODES
from system.mediator import wait_until
from system.slurm_calls import Begun, begin, start
from system.slurm_servers import ADDRESSES, PROFILE, JobMediator

SECRET = "token-8c2f71"
OTHERS = ("mal", "rhea", "wash")
ON_FIRST = f"nodelist = '{NODES[0].name}'\n"
# Mal listens on a port until its job is ended: on every address, or on those of IPv6 alone.
SQUATTER = """\
#!/usr/bin/python3
import socket, signal
family = socket.AF_INET6 if {only_v6} else socket.AF_INET
taken = socket.socket(family)
if {only_v6}:
    taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
taken.bind(("", {port}))
taken.listen()
print("listening", flush=True)
signal.pause()
"""


def search(jobs: JobMediator, user: str) -> str:
    """The files with the secret in them that an account can read, and what it can ask."""
    places = (
        "/var/lib/slurm /var/log /run /tmp /dev/shm /home "
        "/proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/fd/*"
    )
    line = f"timeout 20 grep -alsFD skip --file=- -r {places}"
    found = jobs.machine.run(line, user=user, input=SECRET, check=False).stdout
    ask = "scontrol --all --details show job; squeue --all --states=all --json; ps -eo args"
    said = jobs.machine.run(ask, user=user, check=False).stdout
    return found + "".join(line for line in said.splitlines() if SECRET in line)


def test_nobody_else_learns_a_token_while_a_server_starts_and_runs(jobs: JobMediator) -> None:
    file = "/home/zoe/now"
    server = begin(jobs, "wait-for", file, "serve", "{port}", env={"TOKEN": SECRET})
    wait_until(lambda: "/environ" in search(jobs, "zoe"), "the server")
    for other in OTHERS:
        assert search(jobs, other) == "", other
    jobs.machine.run(["touch", file], user="zoe")
    answer = server.finish()
    jobs.machine.run(["rm", file])
    assert answer.reply["ok"] is True
    for other in OTHERS:
        assert search(jobs, other) == "", other
    assert jobs.stop(answer)["alive"] is False


def test_nobody_else_learns_a_token_while_it_is_submitted(jobs: JobMediator) -> None:
    """The controller does not answer, and sbatch, which has the script in memory, waits for it."""
    with jobs.cluster.held_up():
        call = start(jobs, "serve", "{port}", env={"TOKEN": SECRET})
        sbatch = ["pgrep", "-u", "zoe", "-x", "sbatch"]
        wait_until(lambda: jobs.machine.run(sbatch, check=False).stdout, "the submission")
        pid = jobs.machine.run(sbatch).stdout.strip()
        assert SECRET in jobs.machine.read(f"/proc/{pid}/fd/0")
        line = "timeout 20 grep -alsFD skip --file=- /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
        for other in OTHERS:
            for place in (line, f"{line} /proc/[0-9]*/fd/*"):
                found = jobs.machine.run(place, user=other, input=SECRET, check=False)
                assert found.stdout == "", other
        assert SECRET not in jobs.machine.run(["ps", "-eo", "args"], user="mal").stdout
    answer = Begun(call, {}).finish()
    if answer.reply["ok"]:
        jobs.stop(answer)
    else:
        # It was held up for too long.
        assert answer.reply["code"] == "slurm_unavailable"


@pytest.mark.parametrize("jobs", ["root"], indirect=True)
def test_the_program_of_jobs_refuses_whoever_calls_it_by_hand(jobs: JobMediator) -> None:
    program = jobs.path.with_name("sudospawner-slurm")
    ticket = json.dumps(["", json.dumps({"action": "spawn", "args": [], "env": {}})])
    before = jobs.cluster.list_jobs().keys()
    words: list[list[str]] = [
        *([], ["--in-job"], ["submit"], ["act", "1", "2"], ["submit", "7", "8", "9"]),
        *(["act", "-1", "0", "0"], ["submit", "a", "b", "c"], ["submit", "0", "1", "2"]),
        *(["act", "0", "1", "2"], ["--help", "x"], ["x" * 5000], ["submit", "0", "0", "0"]),
    ]
    for user in ("root", "mal", "zoe"):
        for some in words:
            run = jobs.machine.run([program, *some], user=user, input=ticket, check=False)
            assert run.returncode in (0, 1), (user, some, run)
            assert "panicked" not in run.stderr
            if user == "root":
                assert (run.returncode, run.stdout) == (1, "")
                assert "never runs as root" in run.stderr
            elif some == ["--in-job"]:
                assert "this is no job of Slurm" in run.stderr
    for target in ("root", "zoe"):
        run = jobs.machine.run(
            ["sudo", "-n", "-u", target, program, "--in-job"], user="rhea", check=False
        )
        assert run.returncode == 1
        assert "sudo: " in run.stderr
    assert jobs.cluster.list_jobs().keys() == before


@pytest.mark.parametrize("jobs", ["root"], indirect=True)
def test_a_forged_ticket_in_a_job_of_ones_own_is_a_program_of_ones_own(jobs: JobMediator) -> None:
    """Mal may have no server. What mal submits as a job runs as mal, whatever the ticket says."""
    policy = (
        'hub_users = ["mal"]\n[targets]\nusers = ["mal", "zoe"]\n[server]\nlauncher = "systemd"\n'
        '[hooks]\ndir = "/home/mal/hooks"\n'
    )
    request = {"action": "spawn", "args": ["report", "/home/mal/seen.json", "serve", "{port}"]}
    request |= {"env": {"SUDO_UID": "0"}, "wait": {"seconds": 60}}
    ticket = json.dumps([policy, json.dumps(request)])
    program = jobs.path.with_name("sudospawner-slurm")
    script = f"#!/bin/sh\nexec {program} --in-job <<'END'\n{ticket}\nEND\n"
    hook = "#!/bin/sh\nid >/home/mal/hook\n"
    jobs.machine.write("/home/mal/hooks/10-hook", hook, owner="mal", mode=0o755)
    job = jobs.cluster.submit(script, "--partition=debug", "--chdir=/home/mal", user="mal")
    wait_until(lambda: "listening" in jobs.cluster.look_up(job).comment, "the server", 120)
    seen = json.loads(jobs.machine.read("/home/mal/seen.json"))
    mal = jobs.machine.look_up_account("mal")
    assert seen["uids"] == [mal.uid] * 3
    assert seen["gids"] == [mal.gid] * 3
    assert jobs.machine.run(["test", "-e", "/home/mal/hook"], check=False).returncode == 1
    # It is none of the Hub's servers.
    about = {"action": "status", "job": str(job)}
    assert jobs.call(about).reply["alive"] is False
    assert jobs.call(about, target="mal").reply["code"] == "target_not_permitted"
    jobs.cluster.run("scancel", str(job), user="mal")
    jobs.cluster.wait_for_end(job)
    jobs.machine.run("rm -rf /home/mal/seen.json /home/mal/hooks")


def squat(jobs: JobMediator, port: int, *, only_v6: bool = False) -> int:
    """Have mal listen on a port of the first node, in a job of its own."""
    script = SQUATTER.format(port=port, only_v6=only_v6)
    options = ["--partition=debug", "--chdir=/home/mal", f"--nodelist={NODES[0].name}"]
    job = jobs.cluster.submit(script, *options, user="mal")
    jobs.cluster.wait_for_output(job, "listening", user="mal")
    return job


def test_a_port_that_another_account_has_taken_is_no_servers(jobs: JobMediator) -> None:
    squat(jobs, 45001)
    jobs.set_policy(f"[slurm]\nports = '45001-45002'\n{PROFILE}{ON_FIRST}")
    spawned = jobs.spawn("serve", "{port}")
    assert spawned.reply["port"] == 45002
    assert spawned.reply["host"] == ADDRESSES[NODES[0].name]
    # Now every port is taken.
    refused = jobs.spawn("serve", "{port}", server_name="other").reply
    assert refused["code"] == "port_taken"
    assert "45001 to 45002" in refused["error"]
    assert jobs.stop(spawned)["alive"] is False


def test_a_port_whose_other_addresses_are_another_accounts_is_given_up_after_three_tries(
    jobs: JobMediator,
) -> None:
    squat(jobs, 45003, only_v6=True)
    jobs.set_policy(f"[slurm]\nports = '45003-45003'\n{PROFILE}{ON_FIRST}")
    refused = begin(jobs, "serve", "{port}")
    assert refused.finish().reply["code"] == "port_taken"
    log = jobs.machine.read(f"/home/zoe/.local/state/sudospawner/slurm-{refused.job}.log")
    assert log.count("another port is tried") == 2
    wait_until(lambda: jobs.list_processes() == [], "the end of its processes")
