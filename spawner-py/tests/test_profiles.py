"""The profiles of the policy: what is learned of them, their form, and what users may choose."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from cluster import GPU, SMALL
from conftest import REPLY, UnderTest

from sudospawner import options
from sudospawner.form import describe_time, make_form
from sudospawner.options import Choice
from sudospawner.profiles import Offer, Profile, find_offer

OFFER = Offer.read({"launcher": "slurm", "profiles": [SMALL, GPU]})


class Page(HTMLParser):
    """The elements of a form, with what a screen reader needs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: dict[str, dict[str, str | None]] = {}
        self.labels: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.opened: list[tuple[str, dict[str, str | None]]] = []
        self.legends: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        found = dict(attributes)
        if tag == "input":
            assert ("fieldset", "form-group mb-3") in [
                (name, kept.get("class")) for name, kept in self.opened
            ]
            self.inputs[found["id"]] = found
        else:
            self.opened.append((tag, found))

    def handle_endtag(self, tag):
        assert self.opened.pop()[0] == tag, "the elements are not nested"

    def handle_data(self, data):
        if not self.opened:
            return
        tag, found = self.opened[-1]
        if tag == "label":
            self.labels[found["for"]] = self.labels.get(found["for"], "") + data
        if tag == "legend":
            self.legends.append(data)
        if "id" in found:
            self.texts[found["id"]] = self.texts.get(found["id"], "") + data


def test_a_form_has_each_profile_with_title_and_what_it_gives():
    page = Page(make_form(OFFER, Choice()))
    radios = [found for found in page.inputs.values() if found["type"] == "radio"]
    assert [(found["name"], found["value"]) for found in radios] == [
        ("profile", "small"),
        ("profile", "gpu"),
    ]
    assert ["checked" in found for found in radios] == [True, False]
    assert [page.labels[found["id"]] for found in radios] == [SMALL["title"], GPU["title"]]
    assert [page.texts[found["aria-describedby"]] for found in radios] == [
        "2 cores, 4 GiB of memory, at most 8 hours, partition jupyter",
        "8 cores, 32 GiB of memory, at most 1 day 12 hours, gpu:1, partition gpu",
    ]
    assert page.legends == ["Profile", "Less than the profile gives"]


def test_every_field_has_a_label_and_a_description_and_nothing_needs_a_script():
    page = Page(make_form(OFFER, Choice()))
    assert not page.opened
    for name, found in page.inputs.items():
        assert page.labels[name].strip()
        assert page.texts[found["aria-describedby"]].strip()
    assert "script" not in page.tags
    numbers = {found["name"]: found for found in page.inputs.values() if found["type"] == "number"}
    assert set(numbers) == {"cpus", "memory"}
    assert (numbers["cpus"]["max"], numbers["memory"]["max"]) == ("8", "32")
    assert {found["value"] for found in numbers.values()} == {""}


def test_what_was_chosen_last_is_chosen_again():
    page = Page(make_form(OFFER, Choice("gpu", 4, 1536 << 20)))
    checked = [found["value"] for found in page.inputs.values() if "checked" in found]
    assert checked == ["gpu"]
    values = {found["name"]: found["value"] for found in page.inputs.values()}
    assert (values["cpus"], values["memory"]) == ("4", "1.5")


def test_all_that_a_profile_gives_can_be_sent_as_it_is_shown():
    odd = Offer("slurm", (Profile("odd", "Odd", 2, 3_999_999_999), Profile("b", "B")))
    page = Page(make_form(odd, Choice("odd", 2, 3_999_999_999)))
    fields = {found["name"]: [found["value"]] for found in page.inputs.values()}
    Choice.read_form({**fields, "profile": ["odd"]}).check(odd)


def test_text_of_a_policy_is_no_markup():
    name = '"><script>alert(1)</script>'
    other = Profile(name, "<b>\x1b[2J", gres="<i>", partition="'\"&")
    page = Page(make_form(Offer("slurm", (other, OFFER.profiles[0])), Choice("<u>gone")))
    assert not {"script", "b", "i", "u"} & page.tags
    radio = page.inputs["sudospawner-profile-0"]
    assert radio["value"] == name
    assert page.labels["sudospawner-profile-0"] == "<b>\\x1b[2J"
    assert page.texts["sudospawner-profile-0-gives"] == "<i>, partition '\"&"


def test_one_profile_is_no_choice_unless_another_one_was_chosen_last():
    one = Offer("slurm", OFFER.profiles[:1])
    assert make_form(one, Choice()) == make_form(one, Choice("small", cpus=1)) == ""
    assert "The profile gpu, your last one, is not there now." in make_form(one, Choice("gpu"))
    assert make_form(Offer("slurm"), Choice("gpu")) == make_form(Offer(), Choice()) == ""


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("8:00:00", "8 hours"),
        ("90", "1 hour 30 minutes"),
        ("90:30", "1 hour 30 minutes 30 seconds"),
        ("1-12", "1 day 12 hours"),
        ("2-00:30", "2 days 30 minutes"),
        ("1-1:1:1", "1 day 1 hour 1 minute 1 second"),
        ("0", "0"),
        ("UNLIMITED", "UNLIMITED"),
    ],
)
def test_times_of_slurms_are_told_in_words(time, words):
    assert describe_time(time) == words


# --- What is chosen ---


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"profile": ["gpu"]}, {"profile": "gpu"}),
        ({"profile": ["small"], "cpus": [""], "memory": [" "]}, {"profile": "small"}),
        (
            {"profile": ["gpu"], "cpus": ["4"], "memory": ["1.5"]},
            {"profile": "gpu", "cpus": 4, "memory": 1536 << 20},
        ),
        ({"memory": ["512M"]}, {"memory": 512 << 20}),
        ({"memory": ["0,5 GiB"]}, {"memory": 512 << 20}),
        ({"memory": ["4"], "cpus": ["2"]}, {"memory": 4 << 30, "cpus": 2}),
        ({"_xsrf": ["x"], "other": []}, {}),
    ],
)
def test_what_a_form_sends_becomes_options(fields, chosen):
    found = Choice.read_form(fields).check(OFFER).get_options()
    assert found == chosen
    json.dumps(found)  # The Hub keeps it.
    assert Choice.read(found).get_options() == found


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"profile": ["huge"]}, "You may not choose the profile “huge”, but: small, gpu."),
        ({"cpus": ["0"]}, "whole number from 1, and not “0”"),
        ({"cpus": ["1.5"]}, "whole number from 1"),
        ({"cpus": ["-1"]}, "whole number from 1"),
        ({"cpus": ["99999"]}, "whole number from 1"),
        ({"cpus": ["٢"]}, "whole number from 1"),
        ({"cpus": ["3"]}, "gives at most 2 cores, and you ask for 3"),
        ({"memory": ["5"]}, "gives at most 4 GiB of memory, and you ask for 5 GiB"),
        ({"memory": ["much"]}, "a size of at least 1 MiB, such as 1.5G or 512M, and not “much”"),
        ({"memory": ["0"]}, "at least 1 MiB"),
        ({"memory": ["1K"]}, "at least 1 MiB"),
        ({"memory": ["9" * 15 + "T"]}, "at least 1 MiB"),
        ({"memory": ["x\x1b" * 500]}, "…"),
    ],
)
def test_a_mistake_in_a_form_is_a_sentence(fields, words):
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$") as raised:
        Choice.read_form(fields).check(OFFER)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    "sent",
    [
        {"profile": 5},
        {"profile": ["small"]},
        {"cpus": True},
        {"cpus": 1.5},
        {"cpus": [1]},
        {"memory": 1.5},
        {"memory": "4"},
        {"memory": -1},
        {"memory": {"a": 1}},
        {"memory": 2**70},
    ],
)
def test_nonsense_from_the_rest_api_is_a_sentence(sent):
    with pytest.raises(ValueError, match="has to be"):
        Choice.read(sent)


def test_of_memory_from_the_rest_api_a_number_is_bytes():
    assert Choice.read({"memory": 1 << 30}).memory == 1 << 30
    assert Choice.read({"memory": "1G", "cpus": 2, "other": 5}) == Choice("", 2, 1 << 30)


# --- With a spawner ---


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
