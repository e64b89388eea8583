"""Find changes of parameters alone (`meta`, `format`, `ignore_above`, `dynamic`), which don't change any number of
fields.
"""

import logging

from cacheapp.cluster.mapping_versions import MappingVersions
from cacheapp.cluster.metadata_version import MetadataVersion
from cacheapp.errors import VersionsRefused
from cacheapp.reports import PassOutcome
from cacheapp.sync.look_policy import NextStep, VersionPolicy, names_to_read, versions_read
from cacheapp.sync.pass_record import ChangesRead
from cacheapp.sync.refresher import Refresher
from esassistant.clock import Clock, monotonic
from esassistant.errors import ClusterUnavailable
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)


class ParameterChanges:
    """Remembers the version of each mapping, and has those mappings read whose version has changed. Owned by the
    watch.
    """

    def __init__(self, versions: MappingVersions, refresher: Refresher, *, clock: Clock = monotonic) -> None:
        self._versions = versions
        self._refresher = refresher
        self._clock = clock
        self._policy = VersionPolicy(clock)
        self._known: dict[str, int] | None = None
        self._is_paused = False

    @property
    def requests_total(self) -> int:
        """How many requests for versions were sent so far. The requests of change passes and full passes are counted by
        those.
        """
        return self._versions.requests_total

    async def begin(self, version: MetadataVersion) -> bool:
        """Ask for the present versions, to compare with later, unless earlier ones are known. Return whether it did.

        Changes before this are found by the next scheduled full pass. Known versions are never replaced here: they stay
        right, because everything that differs from them is read later.
        """
        if self._known is not None or self._policy.is_paused():
            return False
        self._known = await self._ask(version)
        if self._known is not None:
            self._policy.allow_asking()
        return self._known is not None

    def note_wake(self, *, found: bool) -> None:
        """Note that the watch was woken, and whether its look `found` a change."""
        self._policy.note_wake(found=found)

    def due_in(self) -> float | None:
        """Return the seconds until `read_if_due` has something to do; None if it hasn't."""
        return self._policy.due_in()

    async def read_if_due(self, version: MetadataVersion) -> ChangesRead | None:
        """Ask for the versions if it is time to, and have the changed mappings read. Return None if nothing was read
        here.

        If asking is too slow, a full pass is started instead; it publishes what it finds by itself. Raises
        `ClusterUnavailable` when the cluster can't be listed.
        """
        step = self._policy.due()
        if step is NextStep.REFRESH:
            answer = await self._refresher.ask("watch", limited=False)
            self._policy.note_pass(started=answer.outcome is PassOutcome.STARTED)
        if step is not NextStep.ASK or (told := await self._ask(version)) is None:
            return None
        # Without known versions to compare with, all mappings that were ever changed are read.
        known = self._known or {}
        named = names_to_read(known, told)
        read = await self._refresher.read_changes(version.era.cluster_uuid, named=named) if named else None
        failed = frozenset() if read is None else read.failed & named  # other indices failed for other reasons
        self._known = versions_read(known, told, failed)
        if failed:
            self._policy.note_unread()
        else:
            self._policy.settle()
        return read

    async def _ask(self, version: MetadataVersion) -> dict[str, int] | None:
        """Return the versions; None if the cluster doesn't tell them this time. Unlike a failed look, that doesn't
        count as an outage.
        """
        asked_at = self._clock()
        told: dict[str, int] | None = None
        try:
            told = await self._versions.read(version.number)
        except VersionsRefused as error:
            self._policy.note_refused()
            self._note_pause(error.detail)
            return None
        except ClusterUnavailable as error:
            logger.debug("versions of mappings: %s", error.detail)
        seconds = self._clock() - asked_at
        if self._policy.note_asked(seconds):
            self._note_pause(
                f"The versions of all mappings take the cluster {as_seconds(round(seconds, 1))}: changes of parameters "
                "alone are found by early full passes."
            )
        elif told is not None:
            self._is_paused = False
        return told

    def _note_pause(self, why: str) -> None:
        if not self._is_paused:
            logger.warning("%s", why)
        self._is_paused = True
