"""A mapping cache that a reading is put into: no cluster, no HTTP, a clock of the bench."""

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
    """As the registry's `flight`, without a registry."""
    task = asyncio.create_task(function())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


@dataclass
class Names:
    """Indices, their mappings and aliases, and what a process knows of them."""

    bodies: dict[str, bytes]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clock: Clock = monotonic

    def __post_init__(self) -> None:
        config = replace(settings.ESASSISTANT.mapping_cache, ttl=1e9, max_stale=1e9)
        self.cache = MappingCache(cast("Any", None), config, spawn, clock=self.clock)
        self.views = MappingViews(self.cache, spawn, clock=self.clock)

    async def read(self, changed: dict[str, bytes] | None = None) -> None:
        """What a pass that reads `changed`, else everything, does."""
        self.bodies |= changed or {}
        uuids = {name: f"uuid-{name}" for name in self.bodies}
        listing = Listing("cluster", uuids, self.aliases, frozenset())
        mappings = Mappings.from_bodies(self.bodies if changed is None else changed)
        left_alone = frozenset(self.bodies) - mappings.hashes.keys()
        await self.cache.apply(Reading(listing, mappings, self.clock(), left_alone), ())


def families(clock: Clock = monotonic, among: Sequence[Family] = FAMILIES) -> Names:
    """The indices of families, with an alias for each: the 1 000 of bench/subjects/cluster.py, of nine mappings."""
    bodies: dict[str, bytes] = {}
    for family in among:
        bodies |= dict.fromkeys(names(family), rendered(family))
    return Names(bodies, {f"all-{family.name}": tuple(names(family)) for family in among}, clock)
