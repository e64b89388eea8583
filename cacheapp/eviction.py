"""Which mappings to drop when they take too much: those not asked for the longest. Pure policy."""

import math
from collections.abc import Mapping

from cacheapp.snapshot import Snapshot


def inherited_uses(before: Snapshot, after: Snapshot, used_at: Mapping[str, float]) -> dict[str, float]:
    """When each body that is new in `after` was last asked for: when those were that it replaces; or never."""
    uses = {known: -math.inf for known in after.bodies if known not in used_at}
    if uses:
        for name, entry in after.indices.items():
            if entry.mapping_hash in uses and (replaced := before.indices.get(name)) is not None:
                replaced_at = used_at.get(replaced.mapping_hash, -math.inf)
                uses[entry.mapping_hash] = max(uses[entry.mapping_hash], replaced_at)
    return uses


def least_used(bodies: Mapping[str, bytes], used_at: Mapping[str, float], excess: int) -> list[str]:
    """The hashes of those bodies that were not asked for the longest, enough of them to save `excess` bytes."""
    evicted: list[str] = []
    for known in sorted(bodies, key=used_at.__getitem__):
        if excess <= 0:
            break
        excess -= len(bodies[known])
        evicted.append(known)
    return evicted
