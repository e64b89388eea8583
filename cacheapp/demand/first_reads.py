"""In which order a process that knows nothing reads mappings: those most likely to be asked for come first. Pure."""

from collections.abc import Iterable, Sequence

from cacheapp.state.families import stem_of
from cacheapp.state.readings import Listing

MOST_FIRST = 500
"""How many indices are read before all others: a few requests."""


def first_indices(names: Iterable[str], listing: Listing, most: int = MOST_FIRST) -> list[str]:
    """Return the listed indices that `names` stand for, each once, in the order of the names, at most `most`.

    Args:
        names: Of families, indices, aliases and data streams, the likeliest first. A series of indices is named by the
            beginning of its names and a `*`.
    """
    found: dict[str, None] = {}
    series: dict[str, list[str]] | None = None
    for name in names:
        members: Sequence[str]
        if name in listing.uuids:
            members = (name,)
        elif name in listing.aliases:
            members = listing.aliases[name]
        elif name.endswith("*"):
            if series is None:
                series = {}
                for index in listing.uuids:
                    series.setdefault(stem_of(index), []).append(index)
            members = series.get(name[:-1], ())
        else:
            continue
        # In a series the last names are mostly the newest indices.
        found.update(dict.fromkeys(index for index in sorted(members, reverse=True) if index in listing.uuids))
        if len(found) >= most:
            break
    return list(found)[:most]
