"""What bench/fleet.py makes of what it measured, and the cluster that it replays. Nothing is measured here."""

import asyncio
import gzip
import json
from collections import Counter
from typing import Any

import pytest

from bench.fleet import Grown, Spent, beyond_quiet, grown_lines, growth_lines, stored
from bench.report.lines import Line
from bench.subjects.cluster import FAMILIES, names
from bench.subjects.replay import (
    CHANGE,
    COUNTS,
    METADATA_VERSION,
    REQUESTS,
    VERSIONS,
    Recording,
    kind_of,
)

NAME = names(FAMILIES[0])[0]
STATE = "/_cluster/state/version,metadata/X*?wait_for_metadata_version={}&wait_for_timeout={}ms"


def total(seconds: float, mappings: int, health: int, commands: float) -> Spent:
    return Spent(seconds, Counter(waits=mappings, health=health), commands, 1000 * commands, commands / 1000)


def grown(instances: int, *, calls: int = 4, commands: float = 300.0, bytes_each: float = 10e6) -> Grown:
    """Half a minute of quiet, then two changes in ten seconds."""
    changing = total(10.0, 12, instances, commands / 3 + 40)
    return Grown(
        instances, total(30.0, calls, instances, commands), changing, [0.02, 0.03], [0.005, 0.01], [bytes_each]
    )


def by_metric(lines: list[Line]) -> dict[str, Line]:
    return {line.metric.strip(): line for line in lines}


def test_what_comes_anyway_is_no_cost_of_a_change() -> None:
    """It is taken off by the second; what is left is never less than nothing."""
    assert beyond_quiet(30.0, 10.0, 60.0, 60.0) == 20.0
    assert beyond_quiet(5.0, 10.0, 60.0, 60.0) == 0.0


def test_two_moments_make_a_time() -> None:
    """Of every count; of health apart from all else."""
    spent = total(40.0, 10, 7, 500.0).since(total(10.0, 4, 5, 200.0))
    assert (spent.seconds, spent.mapping_calls, spent.health_calls) == (30.0, 6, 2)
    assert (spent.commands, spent.bytes) == (300.0, 300_000.0)
    assert spent.redis_seconds == pytest.approx(0.3)


def test_per_minute_and_per_change() -> None:
    measured = grown(4)
    assert measured.per_minute("mapping_calls") == 8.0
    assert measured.per_minute("commands") == 600.0
    assert measured.per_change("commands") == 20.0
    assert measured.per_change("mapping_calls") == pytest.approx((12 - 4 / 3) / 2)


def test_one_instance_has_no_spread() -> None:
    """Nor anybody who takes over."""
    alone, several = (by_metric(grown_lines(grown(count))) for count in (1, 4))
    assert alone["1 instance: calls for mappings"].met is True
    assert not [metric for metric in alone if "spread" in metric or "killed" in metric]
    assert several["4 instances: spread of a change, p99"].met is True
    measured = grown(4)
    measured.watched_after, measured.seen_after = 16.0, 17.0
    assert by_metric(grown_lines(measured))["4 instances: the watcher is killed, another watches after"].met is False


def test_growth_is_of_the_most_over_the_fewest() -> None:
    """What all share is flat where it doesn't grow at all; Redis, where each instance takes as much as before."""
    lines = by_metric(growth_lines([grown(1), grown(4), grown(64, commands=9600.0)]))
    assert lines["cluster: calls per change, 64 ÷ 1 instances"].met is True
    assert lines["memory of an instance, 64 ÷ 1"].met is True
    assert lines["Redis' commands a minute for each of 64 ÷ 4"].value == 2.0
    assert growth_lines([grown(1)]) == []


@pytest.mark.parametrize("distinct", [False, True])
def test_one_change_changes_one_index(*, distinct: bool) -> None:
    """Of a state to publish, which says how old it is; every mapping that is named is there."""
    before, after = (stored(100, distinct=distinct, changed_at=changed_at, now=9.0) for changed_at in ((), (7.0,)))
    [changed] = [name for name in before.indices if before.indices[name] != after.indices[name]]
    assert (before.indices[changed].age_seconds, after.indices[changed].age_seconds) == (None, 2.0)
    assert {index.mapping_hash for index in after.indices.values()} == after.bodies.keys()
    assert len(before.bodies) == (100 if distinct else 7)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/_cluster/health", "health"),
        ("/_resolve/index/*", "listings"),
        ("/", "listings"),
        ("/a,b/_mapping", "mappings"),
        ("/_cluster/state/metadata", "versions"),
        ("/_cluster/state/version,metadata/X*", "waits"),
    ],
)
def test_kinds_of_requests(path: str, kind: str) -> None:
    assert kind_of(path) == kind


async def ask(recording: Recording, target: str) -> Any:
    return json.loads(gzip.decompress(await recording.answer(target)))


async def test_a_change_is_in_all_that_tells_of_it() -> None:
    """The mapping, the number of fields, the version of the mapping, and that of the metadata, for who waits for it."""
    recording = Recording(1)
    counted = await ask(recording, COUNTS)
    waiting = asyncio.create_task(ask(recording, STATE.format(METADATA_VERSION + 1, 5000)))
    await asyncio.sleep(0)
    await ask(recording, f"{CHANGE}?index={NAME}&field=added")
    assert (await waiting)["wait_for_timed_out"] is False
    assert b'"added"' in gzip.decompress(await recording.answer(f"/{NAME}/_mapping"))
    after = await ask(recording, COUNTS)
    before, now = (
        told["nodes"]["node"]["indices"]["indices"][NAME]["mappings"]["total_count"] for told in (counted, after)
    )
    assert now == before + 1
    versions = (await ask(recording, VERSIONS))["metadata"]["indices"]
    assert {name for name, told in versions.items() if told["mapping_version"] != 1} == {NAME}
    assert (await ask(recording, REQUESTS)) == {"listings": 2, "waits": 1, "mappings": 1, "versions": 1}


async def test_a_wait_for_nothing_ends() -> None:
    """And what is there already is told at once."""
    recording = Recording(1)
    assert (await ask(recording, STATE.format(METADATA_VERSION + 1, 1)))["wait_for_timed_out"] is True
    assert (await ask(recording, STATE.format(METADATA_VERSION, 0)))["version"] == METADATA_VERSION
