"""The examples of `docs/protocol.md`, replayed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from machine.installation import REPOSITORY
from system.mediator import Mediator

PAGE = (REPOSITORY / "docs/protocol.md").read_text()
CALL = re.compile(r"\$ echo '(.*)' \| sudo -nH -u zoe /opt/jupyterhub/bin/sudospawner")
EXAMPLE_PID = 4711
# What differs from call to call: of these the type is compared.
VOLATILE = {"pid", "started", "uid", "uptime", "memory", "cpu_seconds", "seconds"}


def read_examples() -> list[tuple[str, list[dict[str, Any]]]]:
    """Every request on the page, with the lines of its answer."""
    examples: list[tuple[str, list[dict[str, Any]]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if call := CALL.fullmatch(line):
                examples.append((call[1], []))
            else:
                examples[-1][1].append(json.loads(line))
    return examples


def blur(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with the types of what differs from call to call."""
    return {key: type(value) if key in VOLATILE else value for key, value in answer.items()}


def test_the_page_has_an_example_of_every_action() -> None:
    actions = {json.loads(request)["action"] for request, _ in read_examples()}
    assert actions == {"spawn", "kill", "stop", "status"}


@pytest.mark.parametrize(("request_", "expected"), read_examples())
def test_the_example_is_answered_as_the_page_says(
    mediator: Mediator, request_: str, expected: list[dict[str, Any]]
) -> None:
    running = mediator.spawn()
    answer = mediator.call(request_.replace(str(EXAMPLE_PID), str(running.reply["pid"])))
    given = [*answer.events, answer.reply]
    assert [blur(line) for line in given] == [blur(line) for line in expected]
    assert [list(line) for line in given] == [list(line) for line in expected]
    mediator.stop(running)
    if answer.reply.get("pid"):
        mediator.stop(answer)
