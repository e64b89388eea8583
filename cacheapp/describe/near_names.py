"""Which names of a cluster were probably meant by one that isn't there."""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

from cacheapp.describe.families import families_of
from cacheapp.errors import MappingNotFound
from cacheapp.queries.findings import MAX_SUGGESTIONS
from cacheapp.queries.suggestions import nearest
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

MAX_NEAR: Final = 5
MAX_COMPARED: Final = 5_000
"""Of names: to find those that are like another takes a microsecond each."""
_PLAIN = re.compile(r"[^0-9a-z]+")


def near_names(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names like a wanted one, the likeliest first: alike in spelling, or with a word of it in them."""
    compared = [name for name, _ in zip(names, range(MAX_COMPARED), strict=False)]
    found = dict.fromkeys(nearest(wanted.replace("*", ""), compared))
    words = [word for word in _PLAIN.split(wanted.lower()) if len(word) > 2]
    having = [(-sum(word in name.lower() for word in words), len(name), name) for name in compared]
    found.update(dict.fromkeys(name for score, _, name in sorted(having) if score))
    return tuple(found)[:MAX_NEAR]


def names_like(wanted: str, snapshot: Snapshot, visible: Visible) -> tuple[str, ...]:
    """Visible names like a wanted one: aliases, data streams, their indices, families. Long work on large clusters."""
    aliases = [alias for alias in snapshot.aliases if visible.covers(alias) and not alias.startswith(".")]
    families = [family.name for family in families_of(snapshot, visible)]
    # No family has the names of indices that an alias stands for.
    aliased = (index for alias in aliases for index in snapshot.aliases[alias])
    indices = [index for index in aliased if visible.covers(index) and not index.startswith(".")]
    return near_names(wanted, dict.fromkeys([*aliases, *families, *indices]))


async def with_near_names(error: MappingNotFound, snapshot: Snapshot, visible: Visible) -> MappingNotFound:
    """What to tell a caller who sees what is `visible` in place of `error`: what was probably meant, too. It depends on
    nothing but the name and what is visible, so that it tells nothing of other names.
    """
    if error.name is None:
        return error
    near = await asyncio.to_thread(names_like, error.name, snapshot, visible)
    return error.meaning(near[:MAX_SUGGESTIONS])
