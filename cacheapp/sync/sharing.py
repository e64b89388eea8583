"""Share mappings between processes through the store: publish what this process knows, and take over what others
published.

Only statements about the same cluster are shared. If the store holds the mappings of another cluster that running
instances use, this process shares nothing with them. It reads, watches and answers for itself, as if there were no
store, and reports that.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.state.clusters import ClusterId, users_of
from cacheapp.state.merge import is_ahead, to_publish
from cacheapp.state.published import StoredState
from cacheapp.stores.protocol import Lease, Store
from esassistant.clock import Clock, monotonic
from esassistant.errors import ClusterUnavailable, StaleToken, StoreRefused, StoreUnavailable
from esassistant.resource import Handle

if TYPE_CHECKING:
    from cacheapp.history import History  # imports models, which Django can't load yet when this module is imported

logger = logging.getLogger(__name__)

IDENTIFY_SECONDS = 1.0
"""How long a start waits for the cluster's uuid before it trusts its URL instead, so that it doesn't hang on the
cluster.
"""


class Foreign(enum.Enum):
    """The situations in which the store holds the mappings of another cluster. The values are texts for people."""

    USED = (
        "The store holds the mappings of another cluster, whose instances are running: nothing is shared. Give this "
        "deployment a store of its own: another database number in REDIS_URL, or DATABASE_URL."
    )
    UNUSED = (
        "The store holds the mappings of another cluster, which no running instance uses: the next pass of this "
        "deployment replaces them."
    )
    UNDECIDED = (
        "The store holds the mappings of a cluster at another ELASTICSEARCH_URL: they are not used until this cluster "
        "has been reached, and is the same."
    )


class Sharing:
    """Publishes to the store and takes over from it. One per process, owned by the registry; belongs to its loop."""

    def __init__(
        self,
        cache: MappingCache,
        store: Store,
        *,
        cluster_urls: str,
        identify: Callable[[], Awaitable[str]] | None = None,
        instance: str = "",
        history: "History | None" = None,
        clock: Clock = monotonic,
        identify_seconds: float = IDENTIFY_SECONDS,
        on_store_change: Callable[[], object] = lambda: None,
    ) -> None:
        """Make one; no I/O.

        Args:
            cache: The mapping cache to publish and to update.
            store: The store.
            cluster_urls: A hash of the URLs of the cluster, which tells clusters apart while none can be reached.
            identify: Asks the cluster for its uuid (empty: it doesn't tell); raises `ClusterUnavailable`.
            instance: The name under which this process reports about itself.
            history: The history of changes, if there is one.
            clock: The monotonic clock.
            identify_seconds: How long to wait for `identify`.
            on_store_change: Is called when the store is found to be away, and when it is back.
        """
        self._cache = cache
        self._store = store
        self._cluster_urls = cluster_urls
        self._identify = identify
        self._instance = instance
        self._history = history
        self._clock = clock
        self._identify_seconds = identify_seconds
        self._on_store_change = on_store_change
        self._generation: int | None = None
        # The cluster of the state with that generation, and whether that state was taken over.
        self._stored: ClusterId | None = None
        self._is_taken = False
        self._foreign: Foreign | None = None
        self._store_error: str | None = None
        self._publish_error: str | None = None
        self._pass_at: float | None = None
        # Whether this process knows newer mappings than those that were published last.
        self._is_ahead = False

    @property
    def cluster(self) -> ClusterId:
        """The cluster that this process reads, as far as it is known."""
        return ClusterId(self._cache.snapshot.cluster_uuid or "", self._cluster_urls)

    @property
    def foreign(self) -> Foreign | None:
        """The situation, if the store holds the mappings of another cluster; None if it doesn't."""
        return self._foreign

    @property
    def refusal(self) -> str | None:
        """Why nothing may be shared, not even leases; None if sharing is allowed."""
        return self._foreign.value if self._foreign is Foreign.USED else None

    @property
    def generation(self) -> int | None:
        """The number of the published state that this process has taken over or published; None before the first."""
        return self._generation if self._is_taken else None

    @property
    def store_error(self) -> str | None:
        """Why nothing is shared now; None if sharing works."""
        return self._store_error or self.refusal

    @property
    def publish_error(self) -> str | None:
        """Why the last attempt to publish failed; None if it succeeded, or if there was none yet."""
        return self._publish_error

    @property
    def pass_at(self) -> float | None:
        """The moment at which the newest known full pass, of this process or another, listed the cluster. None: no pass
        is known, and the cache is empty.
        """
        return self._pass_at

    def note_full_pass(self, listed_at: float) -> None:
        """Note that a full pass of this process has ended, which listed the cluster at the moment `listed_at`."""
        self._pass_at = listed_at

    def note_store_error(self, error: StoreUnavailable) -> None:
        """Note that a write failed because the store is away. Logged once per outage.

        If the store only refuses writes, that is noted elsewhere (`cacheapp.stores.writes`), because the next
        successful read must not clear it.
        """
        if not isinstance(error, StoreRefused):
            self._note_outage(error)

    def _note_outage(self, error: StoreUnavailable) -> None:
        if self._store_error is None:
            logger.warning("%s Mappings are not shared between processes until it is back.", error.operator_detail)
        self._set_store_error(error.detail)

    def _set_store_error(self, error: str | None) -> None:
        has_changed = (error is None) != (self._store_error is None)
        self._store_error = error
        if has_changed:
            self._on_store_change()

    async def take_over(self) -> None:
        """Take over what other processes published since the last time, if it is of the same cluster."""
        try:
            await self._take_over()
            await self._note_whose_it_is()
            self._set_store_error(None)
        except StoreUnavailable as error:
            self._note_outage(error)

    async def _take_over(self) -> None:
        generation = await self._store.generation()
        if generation == 0:
            self._stored, self._is_taken = None, False
            return
        if generation == self._generation and (self._is_taken or not self._is_ours()):
            return
        asked_at = self._clock()
        loaded = await self._store.load(self._cache.snapshot.bodies.keys())
        if loaded is None:
            return
        await self._identify_cluster()
        self._stored = ClusterId(loaded.state.cluster_uuid, loaded.state.cluster_urls)
        self._is_taken = self._is_ours()
        if self._is_taken:
            await self._apply(loaded.state, asked_at)
        # Set only now: others who see this generation rely on its content being in the cache.
        self._generation = loaded.generation

    async def publish(self, lease: Lease) -> bool:
        """Publish what this process knows. Return whether that worked; if not, `publish_error` says why."""
        # A publication replaces everything that was published before, so it has to include what others published since.
        await self.take_over()
        self._publish_error = self._store_error
        if self._pass_at is None or self.refusal is not None:
            return False
        snapshot = self._cache.snapshot
        mark = None if self._history is None else await self._history.mark(snapshot)
        state = to_publish(snapshot, self._pass_at, self._clock(), cluster_urls=self._cluster_urls, history=mark)
        try:
            self._generation = await self._store.publish(state, lease)
        except StaleToken as error:
            self._publish_error = error.detail
            self._set_store_error(error.detail)
            return False
        except StoreUnavailable as error:
            self.note_store_error(error)
            self._publish_error = error.detail
            # The process that watches publishes this once the store is back. Otherwise all other processes would lack
            # it until something else changes, or until the next pass.
            self._is_ahead = True
            return False
        self._stored, self._is_taken = self.cluster, True
        self._note_foreign(None)
        self._publish_error = None
        self._set_store_error(None)
        self._is_ahead = False
        return True

    async def publish_if_ahead(self, lease: Lease) -> bool:
        """Publish if the store lacks something that this process knows, or if no instance uses what the store holds.
        Return whether anything was published.

        The store lacks something if another process has overwritten it, or if an earlier publication failed.
        """
        return (self._is_ahead or self._foreign is Foreign.UNUSED) and await self.publish(lease)

    def _is_ours(self) -> bool:
        return self._stored is not None and self._stored.is_same_as(self.cluster)

    async def _identify_cluster(self) -> None:
        """Ask the cluster for its uuid if that isn't known yet, because by now another cluster may be at the same URL.
        If the cluster can't be reached, the URL has to be enough.
        """
        if self._identify is None or self._cache.snapshot.cluster_uuid is not None:
            return
        try:
            async with asyncio.timeout(self._identify_seconds):
                self._cache.note_cluster(await self._identify())
        except (ClusterUnavailable, TimeoutError):
            return

    async def _note_whose_it_is(self) -> None:
        if self._stored is None or self._is_ours():
            self._note_foreign(None)
        elif self._cache.snapshot.cluster_uuid is None and self._pass_at is None:
            self._note_foreign(Foreign.UNDECIDED)
        else:
            reports = await self._store.reports()
            others = (stored.report for name, stored in reports.items() if name != self._instance)
            self._note_foreign(Foreign.USED if users_of(self._stored, others) else Foreign.UNUSED)

    def _note_foreign(self, foreign: Foreign | None) -> None:
        """Note the situation; log it once per change."""
        if foreign is not None and foreign is not self._foreign and self._stored is not None:
            uuids = (self._stored.uuid or "not known", self.cluster.uuid or "not known")
            logger.warning("%s (its uuid: %s; ours: %s)", foreign.value, *uuids)
        elif foreign is None and self._foreign is not None:
            logger.info("The store holds nothing of another cluster any more.")
        self._foreign = foreign

    async def _apply(self, state: StoredState, asked_at: float) -> None:
        bodies = self._cache.snapshot.bodies
        await self._cache.apply_published(state, asked_at)
        if self._history is not None:
            await self._history.note_published(state, bodies, self._cache.snapshot)
        self._is_ahead = is_ahead(self._cache.snapshot, state, asked_at)
        pass_at = asked_at - state.age_seconds
        self._pass_at = pass_at if self._pass_at is None else max(self._pass_at, pass_at)


SHARING: Handle[Sharing] = Handle("sharing")
