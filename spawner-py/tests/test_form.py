"""The form of profiles: what it shows, who can read it, and what becomes of what it sends."""

from __future__ import annotations

import json

import pytest
from cluster import GPU, SMALL
from form_page import Page

from sudospawner.form import describe_time, make_form
from sudospawner.options import Choice
from sudospawner.profiles import Offer, Profile

OFFER = Offer.read({"launcher": "slurm", "profiles": [SMALL, GPU]})


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
