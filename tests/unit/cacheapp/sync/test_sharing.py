"""A store that holds another cluster's mappings: nothing of it is answered, nothing is published over it while its
instances run, it is said, and what was a rebuilt or a replaced cluster recovers by itself.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import pytest

from cacheapp.reports import PassOutcome
from cacheapp.stores.protocol import Lease
from cacheapp.sync.pass_record import CHANGES, PassScope
from cacheapp.sync.sharing import Foreign, Sharing
from esassistant.errors import StoreUnavailable
from healthapp.checks import MAX_ERROR_CHARACTERS
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    mappings_of,
    no_answer,
)

LOGGER = "cacheapp.sync.sharing"
Make = Callable[..., Instance]


def another_cluster(uuid: str = "another") -> FakeReader:
    """With an index of the same name as the first one has, and another mapping."""
    reader = FakeReader({"a": C_MAPPING, "x": C_MAPPING})
    reader.uuid = uuid
    return reader


@pytest.fixture
async def make() -> Make:
    """Makes instances that share one store and one clock, each of the cluster that its reader reads."""
    clock = FakeClock()
    store = MemoryStore(clock)
    ours = FakeReader({"a": A_MAPPING, "b": B_MAPPING})

    def made(name: str, reader: FakeReader | None = None, urls: str = "urls") -> Instance:
        return Instance(reader or ours, store, clock, name=name, urls=urls)

    return made


async def tell(*instances: Instance) -> None:
    """What each instance does every few seconds."""
    for one in instances:
        await one.store.report(one.name, msgspec.json.encode({"cluster": one.sharing.cluster}), 15.0)


async def lease_of(one: Instance, name: str = "watch") -> Lease:
    lease = await one.store.lease(name, one.name, 30.0)
    assert isinstance(lease, Lease)
    return lease


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER and record.levelno > logging.INFO]


@pytest.mark.parametrize("urls", ["urls", "elsewhere"])
async def test_a_store_that_another_cluster_uses(make: Make, caplog: pytest.LogCaptureFixture, urls: str) -> None:
    """Nothing of it is taken over, also where both are reached by the same URL; passes run without its leases and are
    not published; it is logged once.
    """
    theirs = make("theirs")
    await theirs.run()
    await tell(theirs)
    before = theirs.store.published
    await lease_of(theirs, "refresh")
    ours = make("ours", another_cluster(), urls)
    await ours.sharing.take_over()
    assert (ours.cache.warm, ours.sharing.generation, ours.sharing.foreign) == (False, None, Foreign.USED)
    report = await ours.run()
    assert (report.outcome, report.published, report.error) == (PassOutcome.COMPLETED, False, Foreign.USED.value)
    assert mappings_of(ours.cache, "ax") == {"a": C_MAPPING, "x": C_MAPPING}
    assert ours.refresher.report().store_error == Foreign.USED.value
    assert not await ours.sharing.publish_if_ahead(await lease_of(ours))
    await ours.sharing.take_over()
    assert ours.store.published == before
    assert len(warnings(caplog)) == 1
    assert "its uuid: cluster; ours: another" in warnings(caplog)[0]


async def test_refreshes_stay_limited(make: Make) -> None:
    """Without the store's count of attempts this process's own limits refreshes."""
    theirs = make("theirs")
    await theirs.run()
    await tell(theirs)
    ours = make("ours", another_cluster())
    await ours.sharing.take_over()
    assert (await ours.run(limited=True)).outcome is PassOutcome.COMPLETED
    answer = await ours.refresher.ask("api")
    assert (answer.outcome, answer.retry_after_seconds) == (PassOutcome.RATE_LIMITED, 60.0)


async def test_version_1_0_counts_as_a_user(make: Make) -> None:
    """An instance that doesn't tell its cluster may be one of those that use the store."""
    theirs = make("theirs")
    await theirs.run()
    await theirs.store.report("old", b'{"server":"host:1"}', 15.0)
    ours = make("ours", another_cluster())
    assert not (await ours.run()).published


async def test_a_store_that_nobody_uses(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Once no instance of the other cluster runs its mappings are replaced, by a pass or by whoever watches, and both
    turns are logged.
    """
    theirs = make("theirs")
    await theirs.run()
    await tell(theirs)
    ours = make("ours", another_cluster())
    await ours.run()
    await tell(ours)
    ours.clock.advance(16.0)
    await tell(ours)
    await ours.sharing.take_over()
    assert (ours.sharing.foreign, ours.sharing.store_error) == (Foreign.UNUSED, None)
    assert await ours.sharing.publish_if_ahead(await lease_of(ours))
    assert (ours.sharing.foreign, ours.sharing.generation) == (None, 2)
    later = make("later", another_cluster())
    await later.sharing.take_over()
    assert mappings_of(later.cache, "ax") == {"a": C_MAPPING, "x": C_MAPPING}
    await theirs.sharing.take_over()
    assert (await theirs.run()).published is False  # now it is the one that came too late
    assert [line.partition(" (")[0] for line in warnings(caplog)] == [
        Foreign.USED.value,
        Foreign.UNUSED.value,
        Foreign.USED.value,
    ]


async def test_a_command_for_another_cluster(make: Make) -> None:
    """`warm_cache` while another cluster is at its URL than that whose servers run: it reads that one, all of it, and
    publishes nothing.
    """
    theirs = make("theirs")
    await theirs.run()
    await tell(theirs)
    before = theirs.store.published
    command = make("command", another_cluster())
    await command.sharing.take_over()
    answer = await command.refresher.ask("warm_cache", limited=False, scope=CHANGES)
    assert answer.id is not None
    report = await command.refresher.wait(answer.id)
    assert (report.published, report.error) == (False, Foreign.USED.value)
    assert command.store.published == before


async def test_while_the_cluster_is_away(make: Make) -> None:
    """The URL has to do: what is of another URL waits, and is taken over when the cluster turns out to be the same."""
    theirs = make("theirs")
    await theirs.run()
    ours = make("ours", FakeReader({"a": A_MAPPING}), "another node of it")
    ours.reader.failure = no_answer()
    await ours.sharing.take_over()
    assert (ours.cache.warm, ours.sharing.foreign, ours.sharing.refusal) == (False, Foreign.UNDECIDED, None)
    ours.reader.failure = None
    ours.cache.note_cluster(await ours.reader.cluster_uuid())
    await ours.sharing.take_over()
    assert (ours.cache.warm, ours.sharing.foreign, ours.sharing.generation) == (True, None, 1)
    same = make("same", FakeReader())
    same.reader.failure = no_answer()
    await same.sharing.take_over()
    assert same.cache.warm


async def test_a_warm_start_does_not_hang_on_the_cluster(make: Make) -> None:
    """A cluster that accepts connections and says nothing costs a start its deadline, no more."""
    theirs = make("theirs")
    await theirs.run()
    ours = make("ours")

    async def silent() -> str:
        await asyncio.Event().wait()
        return ""

    ours.sharing._identify = silent
    ours.sharing._identify_seconds = 0.01
    await ours.sharing.take_over()
    assert ours.cache.warm


async def test_a_cluster_that_is_built_anew(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """At the same URL, with another uuid: who notices first shares nothing as long as others still know the former one;
    who notices last publishes, and all are as before.
    """
    one, two = make("one"), make("two")
    await one.run()
    await two.sharing.take_over()
    await tell(one, two)
    rebuilt = one.reader
    rebuilt.uuid, rebuilt.indices = "rebuilt", {"a": C_MAPPING}
    one.clock.advance(1.0)
    assert (await one.run()).published is False
    await tell(one)
    assert (one.sharing.foreign, two.sharing.foreign) == (Foreign.USED, None)
    two.clock.advance(1.0)
    assert (await two.run()).published is True
    await tell(two)
    await one.sharing.take_over()
    assert (one.sharing.foreign, two.sharing.foreign) == (None, None)
    assert one.sharing.generation == two.sharing.generation == 2
    assert "uuid: rebuilt, before: cluster" in caplog.text
    assert mappings_of(one.cache, "a") == mappings_of(two.cache, "a") == {"a": C_MAPPING}


@pytest.mark.parametrize("scope", [CHANGES, PassScope(patterns=("b",))])
async def test_of_another_cluster_everything_is_read(make: Make, scope: PassScope) -> None:
    """Also by a pass that was to read a part: an index of the same name and uuid is another one."""
    one = make("one")
    await one.run()
    one.clock.advance(1.0)
    one.reader.uuid = "rebuilt"
    one.reader.indices = {"a": b'{"properties":{"z":{"type":"ip"}}}', "b": B_MAPPING}
    answer = await one.refresher.ask("warm_cache", limited=False, scope=scope)
    assert answer.id is not None
    assert (await one.refresher.wait(answer.id)).read_total == 2
    assert (one.sharing.cluster.uuid, b'"z"' in mappings_of(one.cache, "a")["a"]) == ("rebuilt", True)


async def test_a_store_that_was_emptied(make: Make) -> None:
    """It holds nothing of another cluster any more, and is used again."""
    theirs = make("theirs")
    await theirs.run()
    await tell(theirs)
    ours = make("ours", another_cluster())
    await ours.run()
    assert ours.sharing.foreign is Foreign.USED
    ours.store.published = None
    await ours.sharing.take_over()
    assert ours.sharing.foreign is None
    assert (await ours.run()).published


async def test_a_cluster_that_does_not_tell_its_uuid(make: Make) -> None:
    """Its URLs stand for it: what is of the same is taken over, and of others not."""
    hidden = FakeReader({"a": A_MAPPING})
    hidden.uuid = ""
    one, same = make("one", hidden), make("same", hidden)
    await one.run()
    await same.sharing.take_over()
    assert same.cache.warm
    other = make("other", another_cluster(""), "elsewhere")
    assert (await other.run()).published
    await tell(other)
    assert not (await one.run()).published


@pytest.mark.parametrize("foreign", Foreign)
def test_the_sentences_fit(foreign: Foreign) -> None:
    """Health shows them whole."""
    assert len(foreign.value) <= MAX_ERROR_CHARACTERS


async def test_a_store_that_comes_and_goes_is_announced(make: Make) -> None:
    """Once when it is found away, whoever asks it, and once when it is back."""
    one = make("one")
    said: list[str | None] = []
    sharing = Sharing(
        one.cache, one.store, cluster_urls="urls", on_store_change=lambda: said.append(sharing.store_error)
    )
    await sharing.take_over()
    assert said == []
    one.store.down = True
    sharing.note_store_error(StoreUnavailable("The store is away."))
    await sharing.take_over()
    await sharing.take_over()
    assert said == ["The store is away."]
    one.store.down = False
    await sharing.take_over()
    await sharing.take_over()
    assert said == ["The store is away.", None]
