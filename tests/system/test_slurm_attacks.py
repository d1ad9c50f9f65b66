"""What users, and what a Hub that is not itself any more, try with servers in jobs.

Comments that say anything, jobs that are others' or no server's, names and values that look like
options, and variables that are options of Slurm's programs.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from machine.catalogue import DEBIANS as ALL
from machine.slurm_files import NODES
from system.mediator import OWN, wait_until
from system.slurm_calls import begin, start, write_comment
from system.slurm_servers import ADDRESSES, LONG, PROFILE, JobMediator

DEBIANS = tuple(ALL)
DEBUG = "partition = 'debug'\n"
# Each is no word of a server's, and the last ones would be other columns, or another job.
NONSENSE = (
    "sudospawner listening 80",
    "sudospawner listening 65536",
    "sudospawner listening 4711 node2",
    "sudospawner listening 10.9.9.9:4711",
    "sudospawner failed <b> x",
    "x" * 1024,
    b"sudospawner listening \xff\xfe4711",
    "|\n9|0|RUNNING|elsewhere|test|a|b|c|0:01|1:00|0:0|1|None|sudospawner listening 4711|\n",
)
OPTIONS = {
    "SBATCH_PARTITION": "nosuch",
    "SBATCH_JOB_NAME": "another",
    "SBATCH_OUTPUT": "/home/zoe/elsewhere",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_ARRAY_INX": "1-3",
    "SBATCH_TIMELIMIT": "99-0",
    "SBATCH_CLUSTERS": "elsewhere",
    "SLURM_CLUSTERS": "elsewhere",
    "SLURM_CONF": "/nonexistent",
    "SLURM_TIME_FORMAT": "relative",
    "SLURM_JOB_ID": "1",
    "SQUEUE_STATES": "CD",
    "SQUEUE_USERS": "nobody",
    "SQUEUE_FORMAT2": "JobID",
    "SQUEUE_PARTITION": "nosuch",
    "SCANCEL_USER": "nobody",
    "SCANCEL_STATE": "PENDING",
    "SCONTROL_FUTURE": "1",
}


def test_a_comment_that_is_no_word_of_a_servers_is_nothing(jobs: JobMediator) -> None:
    servers = [
        begin(jobs, "sleep", "9999", seconds=10, server_name=f"s{place}")
        for place in range(len(NONSENSE))
    ]
    for server, comment in zip(servers, NONSENSE, strict=True):
        assert write_comment(jobs, server.job, comment)
    assert not write_comment(jobs, servers[0].job, "x" * (64 << 10))
    answers = [server.finish() for server in servers]
    codes = {answer.reply["code"] for answer in answers}
    assert codes <= {"job_silent", "job_pending"}, answers
    wait_until(lambda: jobs.list_processes() == [], "the end of its processes")


def test_the_comment_of_a_job_that_waits_is_no_server(jobs: JobMediator) -> None:
    with jobs.cluster.drained(*NODES):
        server = begin(jobs, "serve", "{port}", seconds=4)
        assert write_comment(jobs, server.job, "sudospawner listening 4711")
        assert server.finish().reply["code"] == "job_pending"


def test_a_user_can_name_a_port_in_a_comment_and_never_a_host(jobs: JobMediator) -> None:
    server = begin(jobs, "sleep", "9999")
    found = jobs.cluster.wait_for(server.job, "RUNNING")
    assert write_comment(jobs, server.job, "sudospawner listening 4711")
    answer = server.finish()
    assert (answer.reply["port"], answer.reply["host"]) == (4711, ADDRESSES[found.host])
    jobs.stop(answer)


@pytest.mark.parametrize("code", ["caller_gone", "odd_code"])
def test_a_user_who_says_that_the_server_has_failed_has_no_server(
    jobs: JobMediator, code: str
) -> None:
    server = begin(jobs, "sleep", "9999")
    sentence = "<b>x</b>\x1b[2J\nok"
    assert write_comment(jobs, server.job, f"sudospawner failed {code} {sentence}")
    answer = server.finish()
    assert (answer.reply["ok"], answer.reply["code"], answer.status) == (False, code, 0)
    assert not any(ord(letter) < 32 for letter in answer.reply["error"])
    assert jobs.cluster.wait_for_end(server.job).state == "CANCELLED"


def act(jobs: JobMediator, job: object, **fields: Any) -> list[dict[str, Any]]:
    """Status, kill and stop of a job; the replies."""
    return [
        jobs.call({"action": action, "job": job, **more, **fields}).reply
        for action, more in (
            ("status", {}),
            ("kill", {"signal": 0}),
            ("kill", {"signal": 9}),
            ("kill", {"signal": 15}),
            ("stop", {"interrupt_seconds": 1, "term_seconds": 20}),
        )
    ]


def test_nothing_is_done_to_a_job_that_is_not_the_one_that_is_meant(jobs: JobMediator) -> None:
    """Another user's, one of the user's own that is no server's, and one with another beginning."""
    other = jobs.spawn("serve", "{port}", target="wash")
    own = jobs.spawn("serve", "{port}", server_name="gpu")
    work = jobs.cluster.submit("exec sleep 9999", "--partition=debug")
    array = jobs.cluster.submit("exec sleep 9999", "--partition=debug", "--array=1-2")
    jobs.cluster.wait_for(work, "RUNNING")
    jobs.cluster.wait_for(array, "RUNNING")
    job, started = own.reply["job"], own.reply["started"]
    attempts: list[tuple[str, dict[str, Any]]] = [
        (other.reply["job"], {"started": other.reply["started"]}),
        (other.reply["job"], {}),
        (str(work), {}),
        (str(array), {}),
        (str(array + 1), {}),
        # A server of another name.
        (job, {"started": started}),
        (job, {}),
        (job, {"started": started.replace("test:", "else:"), "server_name": "gpu"}),
        (job, {"started": started + "0", "server_name": "gpu"}),
        (job, {"started": "", "server_name": "gpu"}),
        ("99999", {}),
        ("67108863", {}),
    ]
    for number, fields in attempts:
        for reply in act(jobs, number, **fields):
            assert (reply["ok"], reply["alive"]) == (True, False), (number, fields, reply)
    running = [job.id for job in jobs.cluster.list_jobs().values() if job.state == "RUNNING"]
    assert {int(other.reply["job"]), int(job), work, array} <= set(running)
    assert jobs.stop(own, server_name="gpu")["alive"] is False
    # A job of the past, with its own beginning.
    assert jobs.ask("kill", own, signal=9, server_name="gpu")["alive"] is False
    jobs.stop(other, target="wash")


def test_what_is_no_number_of_a_job_is_no_request(jobs: JobMediator) -> None:
    for job in ("1_2", "0", "-1", "1,2", "all", " 1", "1.batch", "4294967295", 7):
        assert {reply["code"] for reply in act(jobs, job)} == {"malformed_request"}, job


def test_a_signal_that_the_jobs_process_would_not_pass_on_is_refused(jobs: JobMediator) -> None:
    spawned = jobs.spawn("serve", "{port}")
    for signal in (10, 19, 64, 999, -1):
        assert jobs.ask("kill", spawned, signal=signal)["code"] == "malformed_request"
    assert jobs.ask("status", spawned)["state"] == "RUNNING"
    jobs.stop(spawned)


@pytest.mark.parametrize("signal", [2, 15])
def test_a_signal_ends_a_job_that_waits(jobs: JobMediator, signal: int) -> None:
    with jobs.cluster.drained(*NODES):
        server = begin(jobs, "serve", "{port}")
        about = {"job": str(server.job), "started": server.event["started"]}
        killed = jobs.call({"action": "kill", "signal": signal, **about})
        assert killed.reply == {"ok": True, "alive": True}
        reply = server.finish().reply
    assert (reply["code"], reply["result"]) == ("exited_early", "CANCELLED")


def test_the_name_of_a_server_is_no_option_and_no_list(jobs: JobMediator) -> None:
    names = ("--wrap=id", "a b; c", "q'\"$(id)`id`\\", "%j,%x|*?", "x" * 238, "ü{port}")
    calls = [start(jobs, "serve", "{port}", server_name=name) for name in names]
    answers = []
    for call in calls:
        assert call.stdout is not None and call.stderr is not None
        answers.append(json.loads(call.stdout.read().splitlines()[-1]))
        call.wait()
        call.stdout.close()
        call.stderr.close()
    assert [answer["ok"] for answer in answers] == [True] * len(names), answers
    for name, answer in zip(names, answers, strict=True):
        about = {"job": answer["job"], "started": answer["started"], "server_name": name}
        assert jobs.call({"action": "status", **about}).reply["alive"] is True
        stop = {"action": "stop", "interrupt_seconds": 0, **about}
        assert jobs.call(stop).reply["alive"] is False, name
    for name in ("a\nb", "\x1b", "x" * 256):
        assert jobs.spawn("serve", "{port}", server_name=name).reply["ok"] is False


def test_profiles_and_their_values_are_no_other_options(jobs: JobMediator) -> None:
    jobs.set_policy(
        f"[slurm.profiles.'--wrap=id']\n{DEBUG}cpus = 1\n"
        f"[slurm.profiles.'a b; c']\n{DEBUG}constraint = 'x y; --wrap=id --uid=0'\n"
        f"[slurm.profiles.reserved]\n{DEBUG}reservation = 'x; --wrap=id'\n"
    )
    spawned = jobs.spawn("serve", "{port}", profile="--wrap=id")
    assert spawned.reply["profile"] == "--wrap=id"
    jobs.stop(spawned)
    before = jobs.cluster.list_jobs().keys()
    for profile in ("a b; c", "reserved"):
        refused = jobs.spawn("serve", "{port}", profile=profile).reply
        assert refused["code"] == "job_refused", refused
        assert "sbatch: error" in refused["error"]
    for profile in ("", "--wrap", "a b; c\n", "x" * 65):
        assert jobs.spawn("exit", "0", profile=profile).reply["code"] == "profile_unknown"
    assert jobs.cluster.list_jobs().keys() == before


def test_a_profile_is_shown_to_whom_it_is_granted(jobs: JobMediator) -> None:
    groups = {
        "own": ["zoe"],
        "others": ["wash"],
        "missing": ["nosuch"],
        "number": ["0"],
        "one": ["nosuch", "jupyterhub"],
        "all": [],
    }
    jobs.set_policy(
        "".join(f"[slurm.profiles.{name}]\ngroups = {of}\n{DEBUG}" for name, of in groups.items())
    )
    for user, expected in [("zoe", {"own", "one", "all"}), ("wash", {"others", "one", "all"})]:
        words = [jobs.path, "profiles", f"--user={user}"]
        said = json.loads(jobs.machine.run(words, user="rhea").stdout)
        assert {profile["name"] for profile in said["profiles"]} == expected
        codes = {
            name: jobs.spawn("exit", "3", profile=name, target=user).reply["code"]
            for name in groups
        }
        assert {name for name, code in codes.items() if code == "exited_early"} == expected
        assert set(codes.values()) == {"exited_early", "profile_not_permitted"}


def test_options_of_slurms_programs_in_the_hubs_environment_reach_none_of_them(
    jobs: JobMediator,
) -> None:
    kept = "SBATCH_* SLURM_* SQUEUE_* SCANCEL_* SCONTROL_*"
    jobs.permit(jobs.runas, f'Defaults:rhea env_keep += "{kept}"\n')
    jobs.set_policy(PROFILE + DEBUG)
    file = "/home/zoe/seen.json"
    asked = {"SLURM_CONF": "/asked", "SBATCH_PARTITION": "asked"}
    request = {
        **{"action": "spawn", "args": ["report", file, "serve", "{port}"], "env": asked},
        "wait": LONG,
    }

    def call(request: dict[str, Any]) -> dict[str, Any]:
        words = jobs.list_words("zoe")
        run = jobs.machine.run(words, user="rhea", env=OPTIONS, input=json.dumps(request))
        reply: dict[str, Any] = json.loads(run.stdout)
        return reply

    spawned = call(request)
    assert spawned["ok"] is True, spawned
    seen = json.loads(jobs.machine.read(file))["env"]
    jobs.machine.run(["rm", file])
    assert seen.pop("SUDOSPAWNER_JOB_END").isdigit()
    assert seen == asked | OWN
    assert jobs.cluster.look_up(int(spawned["job"])).name == "sudospawner"
    words = [jobs.path, "jobs", "--address"]
    listed = jobs.machine.run(words, user="rhea", env=OPTIONS, input=f"{spawned['job']}\n")
    assert json.loads(listed.stdout)["jobs"][spawned["job"]]["address"] == spawned["host"]
    about = {"job": spawned["job"], "started": spawned["started"]}
    assert call({"action": "status", **about})["state"] == "RUNNING"
    assert call({"action": "stop", "interrupt_seconds": 0, **about})["alive"] is False


def test_an_account_of_any_name_has_its_server_in_its_home(jobs: JobMediator) -> None:
    """As directories have names. A name of a job or an option is made of none of them."""
    homes = {
        "jdoe@ad.example": "/home/%j %u",
        "d'Arc $(id)": "/home/--wrap=$(id);",
        "a=b": "/home/a,b",
    }
    group = jobs.machine.run("getent group jupyterhub").stdout.split(":")[2]
    lines = [
        f"{name}:*:{5000 + place}:{group}::{home}:/bin/sh\n"
        for place, (name, home) in enumerate([*homes.items(), ("ZOE_1", "/home/a\\b")])
    ]
    jobs.machine.run("cp -a /etc/passwd /root/passwd; cat >>/etc/passwd", input="".join(lines))
    jobs.set_policy(PROFILE + DEBUG)
    try:
        for uid, (name, home) in enumerate(homes.items(), 5000):
            jobs.machine.run(["install", "-d", "-m", "0700", f"--owner={uid}", home])
            spawned = jobs.spawn("serve", "{port}", target=name)
            assert spawned.reply["ok"] is True, (name, spawned)
            found = jobs.cluster.look_up(int(spawned.reply["job"]))
            assert (found.user_id, found.name) == (uid, "sudospawner")
            log = f"{home}/.local/state/sudospawner/slurm-{found.id}.log"
            jobs.machine.run(["test", "-f", log])
            assert jobs.ask("status", spawned, target=name)["uid"] == uid
            assert jobs.stop(spawned, target=name)["alive"] is False
            early = jobs.spawn("say", "no such module", "exit", "3", target=name).reply
            assert "no such module" in early["stderr"], early
        refused = jobs.spawn("serve", "{port}", target="ZOE_1").reply
        assert refused["code"] == "job_refused"
        assert "slurm.output" in refused["error"]
    finally:
        jobs.machine.run(["mv", "/root/passwd", "/etc/passwd"])
        jobs.machine.run(["rm", "-rf", *homes.values()])
