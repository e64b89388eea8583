"""A mapping cache that is filled from a reading: no cluster, no HTTP, and the bench's own clock."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from django.conf import settings

from bench.subjects.cluster import FAMILIES, Family, names, rendered
from cacheapp.cache.derived import MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.state.readings import Listing, Mappings, Reading
from esassistant.clock import Clock, monotonic

_running: set[asyncio.Task[Any]] = set()


def spawn(function: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
    """Start a task, as the registry's `flight` does, without a registry."""
    task = asyncio.create_task(function())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


@dataclass
class Names:
    """Indices with their mappings and aliases, and the state of a process that knows them."""

    bodies: dict[str, bytes]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clock: Clock = monotonic

    def __post_init__(self) -> None:
        config = replace(settings.ESASSISTANT.mapping_cache, ttl=1e9, max_stale=1e9)
        self.cache = MappingCache(cast("Any", None), config, spawn, clock=self.clock)
        self.views = MappingViews(self.cache, spawn, clock=self.clock)

    async def read(self, changed: dict[str, bytes] | None = None) -> None:
        """Do what a pass does after it has read the mappings in `changed`; None: all mappings."""
        self.bodies |= changed or {}
        uuids = {name: f"uuid-{name}" for name in self.bodies}
        listing = Listing("cluster", uuids, self.aliases, frozenset())
        mappings = Mappings.from_bodies(self.bodies if changed is None else changed)
        left_alone = frozenset(self.bodies) - mappings.hashes.keys()
        await self.cache.apply(Reading(listing, mappings, self.clock(), left_alone), ())


def families(clock: Clock = monotonic, among: Sequence[Family] = FAMILIES) -> Names:
    """Return the indices of families, with an alias for each family: the 1 000 of bench/subjects/cluster.py, with nine
    mappings.
    """
    bodies: dict[str, bytes] = {}
    for family in among:
        bodies |= dict.fromkeys(names(family), rendered(family))
    return Names(bodies, {f"all-{family.name}": tuple(names(family)) for family in among}, clock)
