"""What is told of a job that is being started, in plain words."""

from __future__ import annotations

from datetime import datetime

import pytest
from cluster import event

from sudospawner.job_news import describe_news

NOW = datetime(2026, 11, 29, 13, 0, 5)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (None, ""),
        ("None", ""),
        ("Resources", " (Resources: other jobs have the cores, memory or devices that it needs)"),
        ("Priority", " (Priority: other jobs go first)"),
        (
            "QOSMaxJobsPerUserLimit",
            " (QOSMaxJobsPerUserLimit: you have as many jobs or resources as your quality of "
            "service permits at a time)",
        ),
        (
            "AssocGrpCpuLimit",
            " (AssocGrpCpuLimit: the users of your account together have what it permits at a "
            "time)",
        ),
        ("Dependency", " (Dependency: it waits for the end of another job)"),
        (
            "ReqNodeNotAvail, UnavailableNodes:node1",
            " (ReqNodeNotAvail, UnavailableNodes:node1: nodes that it needs are down, drained or "
            "reserved)",
        ),
        (
            "PartitionTimeLimit",
            " (PartitionTimeLimit: it asks for more time than its partition permits)",
        ),
        ("SomethingNew", " (SomethingNew)"),
        ("<b>\x1b[2J\n", " (<b>\\x1b[2J\\n)"),
    ],
)
def test_why_a_job_waits_is_explained_as_far_as_it_is_known(reason, words):
    line = describe_news(event("PENDING", reason=reason), NOW)
    assert line == f"Waiting in the queue of the cluster{words}"


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2026-11-29T14:10:00", "; expected to start about 14:10"),
        ("2026-11-30T08:05:00", "; expected to start about 2026-11-30 08:05"),
        ("2026-11-29T13:00:05", ""),
        ("2026-11-29T12:00:00", ""),
        ("2026-11-29T14:10:00+01:00", ""),
        ("soon", ""),
        (None, ""),
    ],
)
def test_when_it_may_start_is_told_if_that_is_to_come(start, words):
    line = describe_news(event("PENDING", estimated_start=start), NOW)
    assert line == f"Waiting in the queue of the cluster{words}"


@pytest.mark.parametrize(
    ("state", "host", "line"),
    [
        ("RUNNING", "node1", "Running on node1"),
        ("RUNNING", None, "Running"),
        ("CONFIGURING", "node1", "Its node is being prepared (node1)"),
        ("SUSPENDED", "node1", "The cluster has suspended its job (node1)"),
        ("POWER_UP\x1b", None, "Its job is in the state POWER_UP\\x1b"),
        (None, None, "Its job is in the state ?"),
    ],
)
def test_the_other_states_are_told_with_the_node(state, host, line):
    assert describe_news(event(state, host=host), NOW) == line
