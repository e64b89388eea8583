"""The verdict: true sentences, no words without trouble, and never better for worse numbers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.resource import Health
from esassistant.windows import Got, WindowReport
from healthapp.evidence import Evidence, OpenBreaker, ServedMappings, Unwritable
from healthapp.findings import Trouble
from healthapp.verdict import LEVELS, NOTHING_KNOWN, judge, worst
from tests.support.verdicts import FRESH, NOW, QUICK_PINGS, SEARCHES, WELL, evidence, service, steady, window

ANSWER, FAILURE, REFUSAL, PART = Got.ANSWER, Got.FAILURE, Got.REFUSAL, Got.PART
AWAY = service(Health.UNHEALTHY, "Elasticsearch at es:9200 could not be reached.", critical=True)
SLOW_PINGS = steady(3.0, every=5.0)


def troubles(found: Evidence) -> list[Trouble]:
    return [effect.trouble for effect in judge(found, NOW)[0].effects]


def level(found: Evidence) -> Health:
    known = judge(found, NOW)[0].level
    assert known is not None
    return known


def test_before_the_first_check() -> None:
    """As long as nothing was checked nothing is claimed."""
    assert judge(evidence(services=None), NOW) == (NOTHING_KNOWN, {})


@pytest.mark.parametrize(
    ("mappings", "sentence"),
    [
        (FRESH, "Serving fresh mappings."),
        (ServedMappings(True, 0, 0, None), "The cluster has no indices, so there is nothing to serve."),
        (ServedMappings(False, 0, 0, None), "No mappings yet."),
        (ServedMappings(True, 9, 9, 400.0), "Serving stale mappings, the oldest confirmed 6 min 40 s ago."),
        (ServedMappings(True, 9, 2, 400.0), "Serving mappings, 2 of 9 of them stale."),
    ],
)
def test_no_trouble_no_words(mappings: ServedMappings, sentence: str) -> None:
    """Where nothing is wrong the sentence says what is served, and nothing else."""
    verdict, lasted = judge(evidence(mappings=mappings, kinds={SEARCHES: steady(0.012)}), NOW)
    assert (verdict.level, verdict.sentence, verdict.public_sentence) == (Health.HEALTHY, sentence, sentence)
    assert (verdict.since, verdict.effects, verdict.next_step, lasted) == (None, (), None, {})


SENTENCES: dict[str, tuple[dict[str, Any], Health, str]] = {
    "slow cluster": (
        {"kinds": {SEARCHES: steady(3.0, over=30)}, "ping": SLOW_PINGS},
        Health.DEGRADED,
        (
            "Searches are slow since 10:39:28 UTC: Elasticsearch answers in 3.01 s, usually 12 ms, and pings "
            "are slow too. Mappings are answered from memory."
        ),
    ),
    "slow cluster, nothing usual yet": (
        {"kinds": {SEARCHES: steady(3.0, over=30)}, "ping": SLOW_PINGS, "usual": {}},
        Health.DEGRADED,
        (
            "Searches are slow since 10:39:28 UTC: Elasticsearch answers in 3.01 s, what is usual is not known "
            "yet, and pings are slow too. Mappings are answered from memory."
        ),
    ),
    "heavy batch": (
        {"kinds": {SEARCHES: steady(3.0, over=30)}},
        Health.HEALTHY,
        (
            "Serving fresh mappings. Searches take long since 10:39:28 UTC (3.01 s, usually 12 ms), but pings "
            "are answered as quickly as usual: these calls are heavy."
        ),
    ),
    "cluster away": (
        {
            "kinds": {SEARCHES: steady(1.0, FAILURE, every=1, over=20)},
            "services": {**WELL, "elasticsearch": AWAY},
            "mappings": ServedMappings(True, 9, 9, 120.0),
        },
        Health.UNHEALTHY,
        (
            "Searches fail since 10:39:40 UTC (20 of 20 in the last minute): Elasticsearch at es:9200 could not be "
            "reached. Mappings up to 2 min old are answered from memory."
        ),
    ),
    "cluster away, nobody asks": (
        {"services": {**WELL, "elasticsearch": AWAY}, "ping": window((0, 1.0, FAILURE), (4, 1.0, FAILURE))},
        Health.UNHEALTHY,
        (
            "Elasticsearch can't be asked since 10:39:55 UTC: Elasticsearch at es:9200 could not be reached. "
            "Mappings are answered from memory. Searches get 503."
        ),
    ),
    "cluster away before the first search": (
        {
            "kinds": {SEARCHES: steady(1.0, FAILURE, every=1, over=5)},
            "services": {**WELL, "elasticsearch": replace(AWAY, since=NOW - timedelta(seconds=20))},
        },
        Health.UNHEALTHY,
        (
            "Elasticsearch can't be asked since 10:39:40 UTC; searches fail since 10:39:55 UTC (5 of 5 in the last "
            "minute): Elasticsearch at es:9200 could not be reached. Mappings are answered from memory."
        ),
    ),
    "cluster away for the check alone": (
        {
            "kinds": {SEARCHES: window((0, 0.1, ANSWER))},
            "services": {**WELL, "elasticsearch": AWAY},
            "ping": window((4, 1.0, FAILURE)),
        },
        Health.UNHEALTHY,
        (
            "Elasticsearch can't be asked since 10:39:55 UTC: Elasticsearch at es:9200 could not be reached. "
            "Mappings are answered from memory."
        ),
    ),
    "breaker": (
        {
            "breakers": {"default": OpenBreaker("5 calls in a row failed, and so did a ping", 7.0)},
            "services": {**WELL, "pools": service(Health.DEGRADED, "the breaker of pool default pauses its calls")},
        },
        Health.DEGRADED,
        (
            "Calls get 503 at once since 10:39:53 UTC, as the breaker is open: 5 calls in a row failed, and so "
            "did a ping. Mappings are answered from memory."
        ),
    ),
    "full pool": (
        {"kinds": {SEARCHES: window(*((i, 0.1, REFUSAL if i % 3 == 0 else ANSWER) for i in range(30)))}},
        Health.DEGRADED,
        (
            "Searches are refused since 10:39:33 UTC (10 of 30 in the last minute): all connections of pool "
            "default are in use. Mappings are answered from memory."
        ),
    ),
    "partial answers": (
        {"kinds": {SEARCHES: window(*((i, 0.1, PART if i < 3 else ANSWER) for i in range(30)))}},
        Health.DEGRADED,
        (
            "Searches get answers that are not whole since 10:39:58 UTC (3 of 30 in the last minute): shards "
            "failed, or the time of a search ran out. Mappings are answered from memory."
        ),
    ),
    "unwritable": (
        {
            "unwritable": Unwritable("Redis takes no writes: its memory is full (OOM).", NOW - timedelta(minutes=5)),
            "services": {**WELL, "store": service(Health.DEGRADED, "Redis at r:6379 takes no writes")},
        },
        Health.DEGRADED,
        (
            "What one process learns is not shared since 10:35:00 UTC: Redis takes no writes: its memory is "
            "full (OOM). Mappings are answered from memory."
        ),
    ),
    "usual has changed": (
        {"changed": {SEARCHES: (NOW - timedelta(minutes=9), 0.012)}, "usual": {SEARCHES: 3.0}},
        Health.HEALTHY,
        (
            "Serving fresh mappings. Searches were slow for an hour, so that since 10:31:00 UTC 3 s counts as usual, "
            "instead of 12 ms."
        ),
    ),
    "a check of one's own": (
        {"services": {**WELL, "orders": service(Health.DEGRADED, "there are no orders")}},
        Health.DEGRADED,
        ("The check orders fails since 10:40:00 UTC: there are no orders. Mappings are answered from memory."),
    ),
    "several": (
        {
            "services": {
                "elasticsearch": service(
                    Health.DEGRADED, "cluster status yellow, 3 shards unassigned", status="yellow"
                ),
                "mapping_cache": service(Health.DEGRADED, "2 of 9 mappings are stale"),
                "store": service(Health.UNHEALTHY, "The store is down."),
                "database": service(Health.UNHEALTHY, "The database is down."),
                "process": service(Health.DEGRADED, "the event loop is late"),
                "orders": service(Health.DEGRADED, "there are no orders"),
                "pools": service(Health.DEGRADED, "pool default is full"),
            },
            "mappings": ServedMappings(True, 9, 2, 400.0),
        },
        Health.DEGRADED,
        (
            "Mappings are stale since 10:40:00 UTC: 2 of 9 mappings are stale. Also: the store can't be used since "
            "10:40:00 UTC: The store is down; the database can't be used since 10:40:00 UTC: The database is down; "
            "Elasticsearch is not quite well since 10:40:00 UTC: cluster status yellow, 3 shards unassigned; 3 more. "
            "Mappings up to 6 min 40 s old are answered from memory."
        ),
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentences(name: str) -> None:
    """What is wrong comes first, with numbers, then since when, why, and what still works."""
    changes, expected, sentence = SENTENCES[name]
    verdict, _ = judge(evidence(**changes), NOW)
    assert (verdict.sentence, verdict.level) == (sentence, expected)
    assert verdict.next_step == f"docs/operations.md#{verdict.effects[0].trouble.section}"
    assert (verdict.since is None) == (expected is Health.HEALTHY)


@pytest.mark.parametrize("name", SENTENCES)
def test_strangers_learn_no_hosts(name: str) -> None:
    """What strangers get names no host, no pool, and nothing that a check found."""
    changes, _, _ = SENTENCES[name]
    public = judge(evidence(**changes), NOW)[0].public_sentence
    for secret in ("es:9200", "r:6379", "pool default", "shards unassigned", "OOM", "no orders"):
        assert secret not in public


def test_failing_calls_of_other_routes() -> None:
    """A route that has nothing to do with the cluster is named, and so is who fails beside it, and why."""
    kinds = {
        "route /orders": window(*((i, 0.1, FAILURE) for i in range(5))),
        "route /api/mappings/{name}": window(*((i, 0.1, FAILURE) for i in range(4))),
        "pool default other": window(*((i, 0.1, FAILURE) for i in range(9))),
        "pool logs search": window(*((i, 0.1, FAILURE) for i in range(3))),
    }
    breakers = {"logs": OpenBreaker("a probe failed", 3.0)}
    sentence = judge(evidence(kinds=kinds, breakers=breakers), NOW)[0].sentence
    assert sentence.startswith("Other calls to Elasticsearch fail since 10:39:52 UTC (9 of 9 in the last minute): ")
    assert "requests to /orders fail" in sentence
    assert "Elasticsearch is not asked: a probe failed" in sentence
    calm = judge(evidence(kinds={"pool a other": kinds["pool default other"]}), NOW)[0].sentence
    assert "Elasticsearch answers with errors, or not in time, though it answers pings" in calm
    route = judge(evidence(kinds={"route /orders": kinds["route /orders"]}), NOW)[0].sentence
    assert "this service answers with errors (5xx); the log has them" in route


def test_a_search_is_told_once() -> None:
    """Its route and its pool count the same call: the pool's is told, unless the route knows of many more."""
    failing = window(*((i, 0.1, REFUSAL) for i in range(5)))
    kinds = {SEARCHES: failing, "route /api/indices/{name}/search": failing}
    assert [effect.callers for effect in judge(evidence(kinds=kinds), NOW)[0].effects] == ["searches"]
    more = {**kinds, "route /api/indices/{name}/search": window(*((i, 0.1, FAILURE) for i in range(12)))}
    assert judge(evidence(kinds=more), NOW)[0].effects[0].bad == 12


@pytest.mark.parametrize(
    ("ages", "pings", "fails"),
    [
        ((0, 1, 2), QUICK_PINGS, True),
        ((0, 1), QUICK_PINGS, False),
        ((10, 40, 70), QUICK_PINGS, True),
        ((70, 100, 130), QUICK_PINGS, False),
        ((70, 100, 130), WindowReport(), True),
        ((70, 100, 130), window((80, 0.1, ANSWER)), True),
        ((70, 100, 130), window((1, 0.1, FAILURE)), True),
        ((300, 600, 890), WindowReport(), True),
        ((300, 600, 910), WindowReport(), False),
    ],
)
def test_few_calls_that_fail(ages: tuple[float, ...], pings: WindowReport, fails: bool) -> None:
    """Three in a row fail, however slowly they came, until a ping is answered after the newest is a minute old."""
    found = evidence(kinds={SEARCHES: window(*((age, 0.1, FAILURE) for age in ages))}, ping=pings)
    assert (Trouble.CALLS_FAIL in troubles(found)) == fails


def test_a_call_that_succeeds_ends_a_row() -> None:
    """Of few calls the newest decides."""
    found = evidence(kinds={SEARCHES: window((1, 0.1, ANSWER), *((age, 0.1, FAILURE) for age in (70, 80, 90)))})
    assert level(found) is Health.HEALTHY


@pytest.mark.parametrize("per_second", [2, 50])
def test_answers_alone_do_not_end_it(per_second: int) -> None:
    """Twenty calls that fail every 30 s are one trouble, however many are answered between; 35 s after the last it is
    over.
    """
    calls = [(age, 0.1, FAILURE) for burst in (0, 30) for age in (burst + i * 0.01 for i in range(20))]
    for passed, fails in ((3, True), (20, True), (34, True), (36, False)):
        answers = ((i / per_second, 0.01, ANSWER) for i in range((passed + 30) * per_second) if i / per_second < passed)
        kinds = {SEARCHES: window(*answers, *((age + passed, seconds, got) for age, seconds, got in calls))}
        assert (Trouble.CALLS_FAIL in troubles(evidence(kinds=kinds))) == fails


def test_an_old_change_is_not_said() -> None:
    """What became usual more than an hour ago is no news, nor is that of pings."""
    changed = {SEARCHES: (NOW - timedelta(hours=2), 0.01), "ping": (NOW, 0.01)}
    assert troubles(evidence(changed=changed)) == []


def test_bad_luck_is_no_trouble() -> None:
    """Two of many, or three of four hundred, are nothing."""
    for bad, calls in ((2, 10), (3, 400)):
        mixed = window(*((i * 50 / calls, 0.01, FAILURE if i % (calls // bad) == 1 else ANSWER) for i in range(calls)))
        assert mixed.bad >= bad
        if mixed.bad == bad:
            assert level(evidence(kinds={SEARCHES: mixed})) is Health.HEALTHY


def test_few_slow_calls() -> None:
    """With less than ten calls in 15 s the last five of a minute are judged, and fewer are not."""
    five = window(*((10.0 * i, 3.0, ANSWER) for i in range(5)))
    assert troubles(evidence(kinds={SEARCHES: five}, ping=SLOW_PINGS)) == [Trouble.CLUSTER_SLOW]
    four = window(*((10.0 * i, 3.0, ANSWER) for i in range(4)))
    assert troubles(evidence(kinds={SEARCHES: four}, ping=SLOW_PINGS)) == []
    old = window(*((61.0 + i, 3.0, ANSWER) for i in range(5)))
    assert troubles(evidence(kinds={SEARCHES: old}, ping=SLOW_PINGS)) == []


def test_calls_that_fail_are_not_called_slow() -> None:
    """Where most calls get no answer they fail; how slow the others are is no news."""
    mixed = window(*((i * 0.5, 0.01 if i % 4 == 0 else 10.0, ANSWER if i % 4 == 0 else FAILURE) for i in range(24)))
    assert troubles(evidence(kinds={SEARCHES: mixed}, ping=SLOW_PINGS)) == [Trouble.CALLS_FAIL]
    slow_too = window(*((i * 0.5, 3.0, FAILURE if i % 4 == 0 else ANSWER) for i in range(24)))
    assert troubles(evidence(kinds={SEARCHES: slow_too}, ping=SLOW_PINGS)) == [
        Trouble.CALLS_FAIL,
        Trouble.CLUSTER_SLOW,
    ]


def test_a_full_pool_of_a_slow_cluster() -> None:
    """That it is slow is said first: refusals are what comes of it."""
    both = window(*((i * 0.5, 3.0, REFUSAL if i % 4 == 0 else ANSWER) for i in range(24)))
    route = window(*((i * 0.5, 3.0, FAILURE if i % 4 == 0 else ANSWER) for i in range(24)))
    kinds = {SEARCHES: both, "route /api/indices/{name}/search": route}
    assert troubles(evidence(kinds=kinds, ping=SLOW_PINGS)) == [Trouble.CLUSTER_SLOW, Trouble.CALLS_REFUSED]


def test_one_slow_ping_is_not_a_slow_cluster() -> None:
    """Most of the last three pings decide, and only those of the last minute."""
    heavy = {SEARCHES: steady(3.0, over=30)}
    once = window((0, 3.0, ANSWER), (5, 0.01, ANSWER), (10, 0.01, ANSWER))
    long_ago = window((61, 3.0, ANSWER), (65, 3.0, ANSWER))
    for ping in (once, long_ago, WindowReport()):
        assert troubles(evidence(kinds=heavy, ping=ping)) == [Trouble.HEAVY_CALLS]


def test_a_partial_row() -> None:
    """The last three of few searches were answered in part: trouble, until they are a minute old."""
    three = window((20, 0.1, PART), (40, 0.1, PART), (59, 0.1, PART))
    assert troubles(evidence(kinds={SEARCHES: three})) == [Trouble.PARTIAL_ANSWERS]
    assert troubles(evidence(kinds={SEARCHES: window((61, 0.1, PART), (62, 0.1, PART), (63, 0.1, PART))})) == []


def test_mappings_that_were_read_since_the_check() -> None:
    """What the check of the cache found is over once all is warm and fresh."""
    old = {"mapping_cache": service(Health.DEGRADED, "no mappings yet: the first pass has not ended")}
    assert troubles(evidence(services=old)) == []
    assert troubles(evidence(services=old, mappings=ServedMappings(True, 9, 1, 400.0))) == [Trouble.MAPPINGS_STALE]


def test_the_cluster_is_red() -> None:
    """Red is told apart from away."""
    red = {"elasticsearch": service(Health.UNHEALTHY, "cluster status red", critical=True, status="red")}
    assert (troubles(evidence(services=red)), level(evidence(services=red))) == (
        [Trouble.CLUSTER_RED],
        Health.UNHEALTHY,
    )


def test_no_mappings_yet() -> None:
    """A cache without mappings says so, and that nothing can be answered."""
    cold = {"mapping_cache": service(Health.DEGRADED, "no mappings yet: the first pass has not ended")}
    verdict, _ = judge(evidence(services=cold, mappings=ServedMappings(False, 0, 0, None)), NOW)
    assert verdict.effects[0].trouble is Trouble.NO_MAPPINGS
    assert verdict.sentence.endswith("No mappings can be answered yet.")
    empty = evidence(services={"store": AWAY}, mappings=ServedMappings(True, 0, 0, None))
    assert judge(empty, NOW)[0].sentence.endswith("The cluster has no indices.")


def test_trouble_began_with_the_first_bad_call() -> None:
    """While it lasts, trouble keeps the moment at which it began, here or in another process, and loses it at its
    end.
    """
    failing = evidence(kinds={SEARCHES: window(*((i, 10.0, FAILURE) for i in range(5)))})
    first, lasting = judge(failing, NOW)
    assert first.since == NOW - timedelta(seconds=14)
    later = NOW + timedelta(minutes=3)
    older = {name: seconds + 180 for name, seconds in lasting.items()}
    assert judge(failing, later, older)[0].since == first.since
    assert judge(failing, later, {**older, next(iter(older)): 500.0})[0].since == later - timedelta(seconds=500)
    assert judge(failing, later)[0].since == later - timedelta(seconds=14)
    assert judge(evidence(), later, older) == (judge(evidence(), later)[0], {})


def test_own_trouble_is_not_told_to_others() -> None:
    """What only this process knows is marked, and no other process takes it over."""
    late = evidence(services={**WELL, "process": service(Health.DEGRADED, "the event loop is 0.4 s late")})
    verdict, lasting = judge(late, NOW)
    assert ([effect.is_own for effect in verdict.effects], lasting) == ([True], {})


def test_trouble_without_a_beginning() -> None:
    """A check whose beginning isn't known has no clock time; one that goes on by another's word has."""
    unknown = {"store": replace(AWAY, since=None)}
    verdict, _ = judge(evidence(services=unknown), NOW)
    assert verdict.since is None
    assert verdict.sentence.startswith("The store can't be used: ")
    assert judge(evidence(services=unknown), NOW, {"store-away store": 60.0})[0].since == NOW - timedelta(minutes=1)


def test_the_worst() -> None:
    """Of several levels the worst; of none, healthy."""
    assert worst([]) is Health.HEALTHY
    assert worst([Health.DEGRADED, Health.UNHEALTHY, Health.HEALTHY]) is Health.UNHEALTHY


CALLS = st.lists(
    st.tuples(st.floats(0, 70), st.sampled_from([0.005, 0.4, 0.6, 2.5, 9.0]), st.sampled_from(list(Got))), max_size=40
)
BADNESS = {Got.ANSWER: 0, Got.PART: 0, Got.FAILURE: 1, Got.REFUSAL: 1}


@settings(deadline=None, max_examples=100)
@given(CALLS, CALLS, st.data())
def test_worse_numbers_never_give_a_better_verdict(calls: Any, pings: Any, data: st.DataObject) -> None:
    """Take any calls and pings, and make some of them slower, or unanswered: the verdict isn't better for it."""
    worse_calls, worse_pings = (
        [
            (age, seconds * data.draw(st.sampled_from([1, 20])), got if BADNESS[got] else worse_got)
            for age, seconds, got in some
            for worse_got in [data.draw(st.sampled_from([got, Got.FAILURE]))]
        ]
        for some in (calls, pings)
    )

    def found(calls: Any, pings: Any) -> Evidence:
        answered = [(age, seconds, ANSWER if got is PART else got) for age, seconds, got in pings]
        return evidence(kinds={SEARCHES: window(*calls)}, ping=window(*answered))

    before, after = level(found(calls, pings)), level(found(worse_calls, worse_pings))
    assert LEVELS.index(after) >= LEVELS.index(before)


def test_a_second_outage_is_not_the_first_one() -> None:
    """An outage began after the newest answered ping, though a kind of call has not been answered since one before."""
    away = replace(AWAY, since=NOW - timedelta(seconds=4))
    row = window((70, 5.0, FAILURE), (66, 5.0, FAILURE), (5, 2.0, FAILURE))
    pings = window((80, 1.0, FAILURE), (60, 0.01, ANSWER), (9, 0.01, ANSWER), (4, 2.0, FAILURE))
    known = evidence(services={"elasticsearch": away}, kinds={"pool cache/other": row}, ping=pings)
    assert judge(known, NOW)[0].since == NOW - timedelta(seconds=7)


def test_what_elasticsearch_answers_comes_first() -> None:
    """Where searches and pages are slow, searches are told first, and of pages not that Elasticsearch answers them."""
    slow = window(*((second, 3.0, ANSWER) for second in range(10)))
    pings = window(*((10 * i, 0.4, ANSWER) for i in range(6)))
    kinds = {"route /admin/status/": slow, SEARCHES: slow}
    found = evidence(kinds=kinds, ping=pings, usual={**dict.fromkeys(kinds, 0.01), "ping": 0.001})
    sentence = judge(found, NOW)[0].sentence
    assert sentence.startswith("Searches are slow since 10:39:48 UTC: Elasticsearch answers in 3.01 s, usually 10 ms")
    assert "Also: requests to /admin/status/ are slow since 10:39:48 UTC: they take 3.01 s, usually 10 ms" in sentence


def test_calls_of_some_minutes_ago_are_not_of_the_last_one() -> None:
    """Where the last calls failed and none came since, it is said how long ago; programs are told of no minute."""
    row = evidence(kinds={SEARCHES: window(*((540 + i, 5.0, FAILURE) for i in range(3)))}, ping=WindowReport())
    verdict = judge(row, NOW)[0]
    assert "(the last 3, the newest 9 min ago)" in verdict.sentence
    assert "last minute" not in verdict.sentence
    assert (verdict.effects[0].calls, verdict.effects[0].bad) == (None, None)


def test_pools_that_a_slow_cluster_fills_are_not_named() -> None:
    """They are a consequence: whoever enlarges them makes it worse."""
    services = {**WELL, "pools": service(Health.DEGRADED, "pool health is full (2 in use, 1 waiting)")}
    slow = evidence(kinds={SEARCHES: steady(3.0)}, ping=steady(2.0, every=5.0), services=services)
    verdict = judge(slow, NOW)[0]
    assert [one.trouble for one in verdict.effects] == [Trouble.CLUSTER_SLOW, Trouble.POOL_FULL]
    assert "pool health" not in verdict.sentence


def test_a_reason_is_said_once() -> None:
    """Whatever fails because of it, and though mappings are missing, too; the end of the sentence tells that."""
    away = "es:9200 refuses the connection"
    services = {
        "elasticsearch": service(Health.UNHEALTHY, away, critical=True),
        "mapping_cache": service(Health.UNHEALTHY, f"no mappings yet: {away}", critical=True),
    }
    kinds = {f"route /browse/{end}": steady(0.01, Got.FAILURE) for end in ("", "{name}")}
    mappings = ServedMappings(False, 0, 0, None)
    verdict = judge(evidence(kinds=kinds, services=services, mappings=mappings, ping=WindowReport()), NOW)[0]
    for sentence in (verdict.sentence, verdict.public_sentence):
        assert "fail" in sentence.partition("Also: ")[2]
        assert sentence.endswith("No mappings can be answered yet. Searches get 503.")
    assert verdict.sentence.count(away) == 1
    assert Trouble.NO_MAPPINGS in [one.trouble for one in verdict.effects]
