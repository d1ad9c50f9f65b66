"""The profiles of the policy: how a spawner learns of them, and what it makes of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from conftest import REPLY, UnderTest
from form_page import Page

from sudospawner import options
from sudospawner.profiles import Offer, find_offer


@pytest.fixture
def spawner(cluster, make_spawner):
    return make_spawner(cluster.program)


async def test_the_hub_gets_form_and_options(cluster, spawner):
    form = await spawner.get_options_form()
    assert [found["value"] for found in Page(form).inputs.values()][:2] == ["small", "gpu"]
    assert await spawner.run_options_from_form({"profile": ["gpu"]}) == {"profile": "gpu"}
    assert await spawner.options_from_query({"cpus": ["1"]}) == {"cpus": 1}
    with pytest.raises(ValueError, match="You may not choose"):
        await spawner.run_options_from_form({"profile": ["huge"]})
    assert len(cluster.calls("profiles")) == 1


async def test_the_hubs_record_of_the_last_options_is_what_is_chosen(spawner):
    for kept, value in (({"profile": "gpu"}, "gpu"), ({"profile": 5}, "small"), (None, "small")):
        spawner.orm_spawner = SimpleNamespace(user_options=kept, server=None)
        inputs = Page(await spawner.get_options_form()).inputs.values()
        assert [found["value"] for found in inputs if "checked" in found] == [value]


async def test_a_form_of_the_sites_own_stays_with_its_fields(cluster, make_spawner):
    spawner = make_spawner(cluster.program, options_form="<input name=image>")
    assert await spawner.get_options_form() == "<input name=image>"
    assert spawner.run_options_from_form({"image": ["a"]}) == {"image": ["a"]}
    assert cluster.calls("profiles") == []


@pytest.mark.parametrize("launcher", ["process", "systemd"])
async def test_another_launcher_has_no_form(cluster, spawner, launcher):
    cluster.say(profiles={"launcher": launcher, "profiles": []})
    assert await spawner.get_options_form() == ""
    assert await spawner.run_options_from_form({"a": ["b"]}) == {"a": ["b"]}


async def test_without_a_policy_nobody_is_asked(cluster, make_spawner, policy):
    policy.unlink()
    spawner = make_spawner(cluster.program)
    assert not spawner.options_form
    assert await spawner.get_options_form() == ""
    assert cluster.calls("profiles") == []


UPSTREAM = """
if len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
    sys.exit("Unrecognized command line arguments")
"""


@pytest.mark.parametrize(
    "answer",
    [
        "no such subcommand",
        [],
        {"launcher": 5},
        {"launcher": "x" * 1000},
        {"profiles": "many"},
        {"launcher": "process", "profiles": [5, {}, {"name": 7}]},
    ],
)
async def test_a_mediator_that_cannot_say_starts_processes(cluster, make_spawner, child, answer):
    cluster.say(profiles=answer, spawn=[{"ok": True, "pid": child.pid}])
    spawner = make_spawner(cluster.program)
    await spawner.start()
    assert spawner.pid == child.pid
    assert await spawner.get_options_form() == ""


async def test_a_wrapper_that_knows_no_subcommand_works_and_the_log_says_why(
    programs, policy, make_spawner, child, caplog
):
    policy.touch()
    spawner = make_spawner(programs.write(UPSTREAM + REPLY % child.pid))
    spawner.log.propagate = True
    await spawner.start()
    assert spawner.pid == child.pid
    assert "'process' is taken for the launcher" in caplog.text
    assert "Unrecognized command line arguments" in caplog.text


async def test_a_mediator_that_cannot_say_while_servers_are_in_jobs_is_asked_for_a_job(
    cluster, make_spawner, caplog
):
    running = make_spawner(cluster.program)
    running.load_state({"job": "7", "started": "x"})
    cluster.say(profiles="no memory")
    offer = await find_offer(cluster.program, "zoe", running.log.warning)
    assert offer == Offer("slurm")


async def test_a_mediator_that_could_say_and_cannot_now_has_the_launcher_that_it_had(cluster):
    said = []
    assert len((await find_offer(cluster.program, "zoe", said.append)).profiles) == 2
    cluster.say(profiles="the directory does not answer")
    assert await find_offer(cluster.program, "wash", said.append) == Offer("slurm")
    [warning] = said
    assert "for wash" in warning
    assert "the directory does not answer" in warning


async def test_a_flood_or_a_silence_is_no_answer(programs, policy, make_spawner, monkeypatch):
    policy.touch()
    monkeypatch.setattr("sudospawner.profiles._TIME_LIMIT", 1.0)
    said = []
    for name, text in (("flood", "while True: print('x' * 9999)"), ("mute", "signal.pause()")):
        assert await find_offer(programs.write(text, name), "zoe", said.append) == Offer()
    assert "printed more than" in said[0] or "did not end" in said[0]
    assert "did not end within 1 seconds" in said[1]


async def test_an_answer_counts_for_some_seconds_and_for_one_user(cluster, monkeypatch):
    for user in ("zoe", "wash", "zoe"):
        await find_offer(cluster.program, user, print)
    assert cluster.calls("profiles") == [["--user=zoe"], ["--user=wash"]]
    monkeypatch.setattr("sudospawner.profiles._AGE", -1.0)
    for _ in range(2):
        await find_offer(cluster.program, "mal", print)
    assert len(cluster.calls("profiles")) == 4


async def test_an_answer_without_profiles_counts_for_all_users(cluster):
    cluster.say(profiles={"launcher": "process", "profiles": []})
    for user in ("zoe", "wash"):
        assert await find_offer(cluster.program, user, print) == Offer()
    assert cluster.calls("profiles") == [["--user=zoe"]]


async def test_only_options_that_nothing_makes_use_of_are_warned_about(spawner, caplog):
    spawner.log.propagate = True
    options.tell_of_unhandled_options(spawner, {"profile": "a", "cpus": 1, "memory": 5})
    assert caplog.text == ""
    options.tell_of_unhandled_options(spawner, {"profile": "a", "image\x1b": "b"})
    assert "unhandled user_options" in caplog.text
    assert "image\\x1b" in caplog.text
    if hasattr(spawner, "_run_apply_user_options"):
        caplog.clear()
        await spawner._run_apply_user_options({"profile": "a"})
        assert caplog.text == ""


def test_settings_of_a_subclass_come_first(cluster, make_spawner):
    class Own(UnderTest):
        def _options_form_default(self):
            return "<b>"

    assert make_spawner(cluster.program, Own).options_form == "<b>"
