"""Which names of a cluster were probably meant by a name that isn't there."""

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
"""How many names are compared; each comparison takes a microsecond."""
MAX_WORDS: Final = 20
"""How many words of a wanted name are looked for. A list of names, which callers choose, may have thousands."""
_PLAIN = re.compile(r"[^0-9a-z]+")


def near_names(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return names similar to a wanted one, the likeliest first: those with similar spelling, then those that contain a
    word of it.
    """
    compared = [name for name, _ in zip(names, range(MAX_COMPARED), strict=False)]
    found = dict.fromkeys(nearest(wanted.replace("*", ""), compared))
    words = list(dict.fromkeys(word for word in _PLAIN.split(wanted.lower()) if len(word) > 2))[:MAX_WORDS]
    lowered = ((name, name.lower()) for name in compared)
    having = [(-sum(word in plain for word in words), len(name), name) for name, plain in lowered]
    found.update(dict.fromkeys(name for score, _, name in sorted(having) if score))
    return tuple(found)[:MAX_NEAR]


def names_like(wanted: str, snapshot: Snapshot, visible: Visible) -> tuple[str, ...]:
    """Return visible names similar to a wanted one: aliases, data streams, their indices, and families. Takes long on
    large clusters.
    """
    aliases = [alias for alias in snapshot.aliases if visible.covers(alias) and not alias.startswith(".")]
    families = [family.name for family in families_of(snapshot, visible)]
    # Families of aliases are named by the alias, so the names of their indices are added.
    aliased = (index for alias in aliases for index in snapshot.aliases[alias])
    indices = [index for index in aliased if visible.covers(index) and not index.startswith(".")]
    return near_names(wanted, dict.fromkeys([*aliases, *families, *indices]))


async def with_near_names(error: MappingNotFound, snapshot: Snapshot, visible: Visible) -> MappingNotFound:
    """Return the error with suggestions for a caller. They depend only on the name and on what is `visible`, so they
    give away no other names.
    """
    if error.name is None:
        return error
    near = await asyncio.to_thread(names_like, error.name, snapshot, visible)
    return error.meaning(near[:MAX_SUGGESTIONS])
