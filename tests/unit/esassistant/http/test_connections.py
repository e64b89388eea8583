"""How many connections there may be, and what is said of those that are too many."""

import logging
import resource
from dataclasses import replace

import pytest
from pytest_django import Settings

from esassistant.http.connections import BEYOND, OWN_FILES, Connections, ConnectionsReport, Looks, connection_limit
from esassistant.http.connections import connections as of_this_process


@pytest.mark.parametrize(
    ("wanted", "files", "limit"),
    [
        (4000, 100_000, 4000),
        (4000, 1024, 1024 - 100 - OWN_FILES - BEYOND),
        (50, 1024, 50),
        (50, 100, 1),
    ],
)
def test_descriptors_bound_connections(wanted: int, files: int, limit: int) -> None:
    """Those to the cluster and our own files keep theirs; one connection is always allowed."""
    assert connection_limit(wanted, 100, files) == limit


def test_refusals_are_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However many there are; each is counted."""
    times = iter((0.0, 1.0, 59.9, 60.0, 61.0))
    connections = Connections(10, lambda: next(times))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            connections.refuse()
    assert len(caplog.records) == 2
    assert "10 connections" in caplog.messages[0]
    assert "4 refused" in caplog.messages[1]
    assert connections.report() == ConnectionsReport(0, 10, 5, 0, 0)


def test_looks() -> None:
    """Only the same in a row counts, and nothing begins anew."""
    looks = Looks()
    assert [looks.found(mark) for mark in (1, 1, 1, 2, None, 2, 2)] == [1, 2, 3, 1, 0, 1, 2]


@pytest.mark.parametrize(("soft", "hard", "limit", "raised_to"), [(64, 10_000, 1000, 1364), (300, 310, 1, 310)])
def test_descriptors_are_taken_as_far_as_allowed(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    limit: int,
    raised_to: int,
) -> None:
    """The soft limit is raised to what is needed; where the hard one is too low, the log says what follows."""
    config = settings.ESASSISTANT
    settings.ESASSISTANT = replace(config, max_connections=1000, elasticsearch=replace(config.elasticsearch))
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    found = of_this_process.__wrapped__()
    assert found.limit == limit
    assert raised == [(raised_to, hard)]
    assert ("at most 1 connections" in caplog.text) == (limit == 1)
