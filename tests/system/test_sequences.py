"""Whatever happens in whatever order, a small model knows who runs and who is told what.

hypothesis invents sequences of spawns, signals, stops, questions, and deaths of the Hub and of
servers, of three users. Real calls through sudo carry them out, as `system.sequences` says. After
each, nothing of a call is left, what is to run runs as its user, with its one supervisor or in its
unit, nothing else does, and no stranger has got a signal that was not for it. What a hook leaves
is there as long as the server.

`make test` always tries the same few. `make fuzz` tries many others, and prints the seed that
repeats them. A sequence that fails is printed, as lines of Python.
"""

from __future__ import annotations

import math
import os
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import run_state_machine_as_test

from machine.caches import Cache
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.mediator import RootMediator
from system.sequences import Calls
from system.stage import ACCOUNTS, HOOK, stage_for
from system.units import UnitMediator, mediator_in

set_hypothesis_home_dir(REPOSITORY / "target/hypothesis")
# Each mode of the mediator, without and with a hook that leaves a daemon.
KINDS = [("user", ""), ("root", ""), ("root", HOOK), ("unit", ""), ("unit", HOOK)]
# How many sequences in all modes together: `make fuzz` says it.
ASKED_FOR = os.environ.get("SUDOSPAWNER_SEQUENCES")
FORM = settings(
    max_examples=math.ceil(int(ASKED_FOR or 20) / len(KINDS)),
    stateful_step_count=20,
    # `make test` need not look for a shorter sequence that fails, too.
    phases=[Phase.generate, *([Phase.shrink] if ASKED_FOR else [])],
    report_multiple_bugs=False,
    # Real processes take the time that they take.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # What has failed once is printed, and is then a test of its own.
    database=None,
)


@pytest.mark.parametrize(
    ("mode", "hook"), KINDS, ids=[mode + (hook and "-hooked") for mode, hook in KINDS]
)
def test_who_runs_and_who_is_told_what_is_what_a_small_model_says(
    machine: Machine, hub6: Cache, mode: str, hook: str
) -> None:
    with mediator_in(mode, machine, hub6.bin / "sudospawner") as mediator:
        if isinstance(mediator, RootMediator):
            users = ", ".join(f'"{name}"' for name in ACCOUNTS)
            mediator.set_policy(f"[targets]\nusers = [{users}]\n")
            if hook:
                mediator.add_hook("10-daemon", hook)
        else:
            mediator.permit(", ".join(ACCOUNTS))
        units, hooked = isinstance(mediator, UnitMediator), hook != ""
        with stage_for(mediator, units=units, hooked=hooked) as stage:
            make = partial(Calls, stage)
            # The same sequences each time, and others in each mode.
            factory = make if ASKED_FOR else seed(KINDS.index((mode, hook)))(make)
            run_state_machine_as_test(factory, settings=FORM)
