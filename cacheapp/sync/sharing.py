"""What processes share by way of the store: publish what this one knows, and take over what others published."""

import logging
from typing import TYPE_CHECKING

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.state.merge import is_ahead, to_publish
from cacheapp.state.published import StoredState
from cacheapp.stores.protocol import Lease, Store
from esassistant.clock import Clock, monotonic
from esassistant.errors import StaleToken, StoreRefused, StoreUnavailable
from esassistant.resource import Handle

if TYPE_CHECKING:
    from cacheapp.history import History  # has models, which Django loads after what imports this

logger = logging.getLogger(__name__)


class Sharing:
    """One per process, owned by the registry; belongs to its loop."""

    def __init__(
        self,
        cache: MappingCache,
        store: Store,
        *,
        cluster_urls: str,
        history: "History | None" = None,
        clock: Clock = monotonic,
    ) -> None:
        """`cluster_urls` is a hash of the URLs of the cluster: what tells clusters apart while none can be reached."""
        self._cache = cache
        self._store = store
        self._cluster_urls = cluster_urls
        self._history = history
        self._clock = clock
        self._generation: int | None = None
        self._store_error: str | None = None
        self._publish_error: str | None = None
        self._pass_at: float | None = None
        # Whether this process knows mappings that are newer than what was published last.
        self._is_ahead = False

    @property
    def generation(self) -> int | None:
        """The number of the published state that this process has; None before the first."""
        return self._generation

    @property
    def store_error(self) -> str | None:
        """Why nothing is shared now; None: it is."""
        return self._store_error

    @property
    def publish_error(self) -> str | None:
        """Why the last attempt to publish failed; None: it succeeded, or there was none yet."""
        return self._publish_error

    @property
    def pass_at(self) -> float | None:
        """When the newest full pass known here, this process's own or another's, listed the cluster; None: no pass is
        known, and the cache is empty.
        """
        return self._pass_at

    def note_full_pass(self, listed_at: float) -> None:
        """Note that a full pass of this process has ended, which listed the cluster at `listed_at`."""
        self._pass_at = listed_at

    def note_store_error(self, error: StoreUnavailable) -> None:
        """Note that a write failed because the store is away. Logged once per outage.

        A store that refuses writes alone is noted where it is asked (`cacheapp.stores.writes`): the next successful
        read must not end it.
        """
        if not isinstance(error, StoreRefused):
            self._note_outage(error)

    def _note_outage(self, error: StoreUnavailable) -> None:
        if self._store_error is None:
            logger.warning("%s Mappings are not shared between processes until it is back.", error.operator_detail)
        self._store_error = error.detail

    async def take_over(self) -> None:
        """Take over what other processes published since the last time, if it is of the same cluster."""
        try:
            generation = await self._store.generation()
            if generation not in (0, self._generation):
                asked_at = self._clock()
                loaded = await self._store.load(self._cache.snapshot.bodies.keys())
                if loaded is not None:
                    if self._is_of_our_cluster(loaded.state):
                        await self._apply(loaded.state, asked_at)
                    # Not sooner: who sees the generation may count on what it holds.
                    self._generation = loaded.generation
            self._store_error = None
        except StoreUnavailable as error:
            self._note_outage(error)

    async def publish(self, lease: Lease) -> bool:
        """Give what this process knows to the others. Return whether that worked; `publish_error` says why not."""
        # What is published replaces everything: what others published since we looked must be in it.
        await self.take_over()
        self._publish_error = self._store_error
        if self._pass_at is None:
            return False
        state = to_publish(self._cache.snapshot, self._pass_at, self._clock(), cluster_urls=self._cluster_urls)
        try:
            self._generation = await self._store.publish(state, lease)
        except StaleToken as error:
            self._store_error = self._publish_error = error.detail
            return False
        except StoreUnavailable as error:
            self.note_store_error(error)
            self._publish_error = error.detail
            return False
        self._store_error = self._publish_error = None
        self._is_ahead = False
        return True

    async def publish_if_ahead(self, lease: Lease) -> bool:
        """Publish, if another process has published over what this one knows. Return whether anything was published."""
        return self._is_ahead and await self.publish(lease)

    def _is_of_our_cluster(self, state: StoredState) -> bool:
        # By the URLs, until the cluster has been reached.
        if (known := self._cache.snapshot.cluster_uuid) is not None:
            return state.cluster_uuid == known
        return state.cluster_urls == self._cluster_urls

    async def _apply(self, state: StoredState, asked_at: float) -> None:
        await self._cache.apply_published(state, asked_at)
        if self._history is not None:
            self._history.note_published(self._cache.snapshot)
        self._is_ahead = is_ahead(self._cache.snapshot, state, asked_at)
        pass_at = asked_at - state.age_seconds
        self._pass_at = pass_at if self._pass_at is None else max(self._pass_at, pass_at)


SHARING: Handle[Sharing] = Handle("sharing")
