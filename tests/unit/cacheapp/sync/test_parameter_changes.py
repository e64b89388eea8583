"""Changes of parameters alone: what is asked, what is read then, and what becomes of it when either can't be had."""

from typing import Any

import pytest

from cacheapp.cluster.metadata_version import Era, MetadataVersion
from cacheapp.errors import VersionsRefused
from cacheapp.reports import PassOutcome
from cacheapp.sync.look_policy import ASK_SECONDS, PAUSE_SECONDS
from cacheapp.sync.parameter_changes import ParameterChanges
from cacheapp.sync.pass_record import ChangesRead, RefreshAnswer
from tests.support.fakes import FakeClock, no_answer


class FakeVersions:
    """The versions that a cluster tells, after `seconds`, or `failure`; for which metadata versions it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.told = {"a": 1, "b": 3}
        self.seconds = 0.125
        self.failure: Exception | None = None
        self.asked: list[int] = []

    @property
    def requests_total(self) -> int:
        return len(self.asked)

    async def read(self, metadata_version: int) -> dict[str, int]:
        self.asked.append(metadata_version)
        self.clock.advance(self.seconds)
        if self.failure is not None:
            raise self.failure
        return dict(self.told)


class FakeRefresher:
    """Counts what it is asked for. `failed` can't be read."""

    def __init__(self) -> None:
        self.named: list[frozenset[str]] = []
        self.failed: frozenset[str] = frozenset()
        self.failure: Exception | None = None
        self.outcome = PassOutcome.STARTED
        self.triggers: list[str] = []

    async def read_changes(self, cluster_uuid: str | None, *, named: frozenset[str]) -> ChangesRead:
        assert cluster_uuid == "cluster"
        self.named.append(named)
        if self.failure is not None:
            raise self.failure
        return ChangesRead(len(named - self.failed), self.failed)

    async def ask(self, trigger: str, *, limited: bool) -> RefreshAnswer:
        assert not limited
        self.triggers.append(trigger)
        return RefreshAnswer(self.outcome)


def at(number: int) -> MetadataVersion:
    """A version of the cluster's metadata."""
    return MetadataVersion(Era("cluster", 1), number, "state")


class Followed:
    """What finds the changes, and all that it works with."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.versions = FakeVersions(self.clock)
        self.refresher = FakeRefresher()
        fakes: Any = (self.versions, self.refresher)
        self.changes = ParameterChanges(*fakes, clock=self.clock)

    async def change(self, name: str = "b") -> ChangesRead | None:
        """A change of one mapping wakes the watch, whose look finds nothing; what is read once it is due."""
        self.versions.told[name] = self.versions.told.get(name, 0) + 1
        self.changes.note_wake(found=False)
        return await self.due()

    async def due(self) -> ChangesRead | None:
        due_in = self.changes.due_in()
        assert due_in is not None
        self.clock.advance(due_in)
        return await self.changes.read_if_due(at(7))

    async def slow(self) -> None:
        """Have answers be slow until asking pauses."""
        self.versions.seconds = 2.0
        for _ in range(2):
            await self.change()
        self.versions.asked.clear()
        self.refresher.named.clear()


@pytest.fixture
async def followed() -> Followed:
    """Nothing is remembered yet."""
    return Followed()


async def test_what_changed_is_read(followed: Followed) -> None:
    """Of the mappings whose version is another than at the beginning those are read, at once; then nothing is due."""
    assert await followed.changes.begin(at(5))
    followed.changes.note_wake(found=False)
    assert followed.changes.due_in() == 0.0
    assert await followed.change() == ChangesRead(1)
    assert (followed.refresher.named, followed.versions.asked) == ([frozenset("b")], [5, 7])
    assert (followed.changes.due_in(), followed.changes.requests_total) == (None, 2)
    assert await followed.changes.read_if_due(at(8)) is None
    assert followed.changes.requests_total == 2


async def test_nothing_changed(followed: Followed) -> None:
    """When no mapping has another version nothing is read."""
    await followed.changes.begin(at(5))
    followed.changes.note_wake(found=False)
    assert await followed.due() is None
    assert (followed.refresher.named, followed.changes.due_in()) == ([], None)


async def test_it_begins_once(followed: Followed) -> None:
    """After an outage the versions of before are compared with: what changed meanwhile is found."""
    assert await followed.changes.begin(at(5))
    followed.versions.told["a"] = 2
    assert not await followed.changes.begin(at(6))
    followed.changes.note_wake(found=False)
    assert await followed.due() == ChangesRead(1)
    assert followed.refresher.named == [frozenset("a")]


async def test_without_a_beginning(followed: Followed) -> None:
    """When they could not be told at first, all mappings that ever changed are read, ten seconds later."""
    followed.versions.failure = no_answer()
    assert not await followed.changes.begin(at(5))
    followed.versions.failure = None
    followed.changes.note_wake(found=False)
    assert followed.changes.due_in() == ASK_SECONDS
    await followed.due()
    assert followed.refresher.named == [frozenset("b")]


async def test_what_could_not_be_read_is_named_again(followed: Followed) -> None:
    """What was named and could not be read is named again by itself; what failed beside it is not waited for."""
    await followed.changes.begin(at(5))
    followed.refresher.failed = frozenset({"b", "elsewhere"})
    assert await followed.change() == ChangesRead(0, followed.refresher.failed)
    followed.refresher.failed = frozenset({"elsewhere"})
    assert await followed.due() == ChangesRead(1, followed.refresher.failed)
    assert followed.refresher.named == [frozenset("b"), frozenset("b")]
    assert followed.changes.due_in() is None


async def test_a_failed_look_loses_nothing(followed: Followed) -> None:
    """When the cluster can't be listed that is raised, and the next answer names the same."""
    await followed.changes.begin(at(5))
    followed.refresher.failure = no_answer()
    with pytest.raises(type(no_answer())):
        await followed.change()
    followed.refresher.failure = None
    assert await followed.due() == ChangesRead(1)
    assert followed.refresher.named == [frozenset("b"), frozenset("b")]


async def test_no_answer_is_no_outage(followed: Followed) -> None:
    """A question that fails is asked again ten seconds later."""
    await followed.changes.begin(at(5))
    followed.versions.failure = no_answer()
    assert await followed.change() is None
    assert followed.changes.due_in() == ASK_SECONDS
    followed.versions.failure = None
    assert await followed.due() == ChangesRead(1)


async def test_refused_is_said_once(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """Where it is refused it is asked again every ten minutes, and that is said once; when it is allowed, what changed
    meanwhile is found.
    """
    await followed.changes.begin(at(5))
    followed.versions.failure = VersionsRefused("not for you")
    for asked in (2, 3):
        assert await followed.change() is None
        assert followed.changes.due_in() == PAUSE_SECONDS
        assert followed.changes.requests_total == asked
    assert caplog.text.count("not for you") == 1
    followed.versions.failure = None
    assert await followed.due() == ChangesRead(1)


async def test_refused_from_the_beginning(followed: Followed) -> None:
    """A watch that begins again and again doesn't ask each time."""
    followed.versions.failure = VersionsRefused("not for you")
    for _ in range(3):
        assert not await followed.changes.begin(at(5))
    assert followed.changes.requests_total == 1


async def test_where_it_is_slow(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """After two slow answers, which are used all the same, a full pass is started instead, and that is said once."""
    await followed.changes.begin(at(5))
    await followed.slow()
    assert await followed.change() is None
    assert (followed.refresher.triggers, followed.versions.asked, followed.refresher.named) == (["watch"], [], [])
    assert followed.changes.due_in() is None
    assert caplog.text.count("take the cluster 2 s") == 1
    followed.clock.advance(PAUSE_SECONDS)
    followed.versions.seconds = 0.125
    assert await followed.change() == ChangesRead(1)


async def test_a_pass_of_another(followed: Followed) -> None:
    """A pass that ran already may have read before the change: another is asked for."""
    await followed.changes.begin(at(5))
    await followed.slow()
    followed.refresher.outcome = PassOutcome.JOINED
    await followed.change()
    followed.refresher.outcome = PassOutcome.STARTED
    await followed.due()
    assert followed.refresher.triggers == ["watch", "watch"]
    assert followed.changes.due_in() is None
