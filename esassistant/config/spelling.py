"""Names that are no settings, but were meant to be. Pure."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from rapidfuzz.distance import OSA

LETTERS: Final = 2
"""So many may be wrong, missing, too many or swapped. More would accuse what others put into an environment: Kubernetes
does `ELASTICSEARCH_PORT` and `ESASSISTANT_SERVICE_HOST`.
"""
SHORT: Final = 6
"""Of a name with fewer letters, one."""
OURS: Final = ("ESASSISTANT_", "ELASTICSEARCH_", "MAPPING_CACHE_", "HEALTH_CACHE_")
"""What begins so in a file of settings is meant for this service."""
ENVIRONMENT_ALONE: Final = ("ESASSISTANT_HOME", "ESASSISTANT_ENV_FILE")
"""They say where the file is."""
NOT_HERE: Final = "has no effect in a project that embeds this service: Django's own settings say it there"
REMOVED: Final = {
    "MAPPING_REFRESH_TIMEOUT": "MAPPING_CACHE_FETCH_TIMEOUT holds for every reading of mappings",
}
"""Settings that there were, and what is in their place."""


def nearest(name: str, known: Collection[str]) -> str | None:
    """The setting that a name was probably meant to be: the most alike within `LETTERS`; None: there is none."""
    near = min(known, key=lambda one: (OSA.distance(name, one), one))
    allowed = LETTERS if min(len(name), len(near)) >= SHORT else 1
    return near if OSA.distance(name, near) <= allowed else None


def wrong_in_file(
    names: Iterable[str], known: Collection[str], elsewhere: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Those names in a file of settings that have no effect though they were meant to, each with what is wrong.

    1. It is a setting, but not in a file. 2. It was one. 3. It is one, but not in this project (`elsewhere`). 4. It is
    within two letters of one, or begins as only ours do. Anything else may be somebody else's.
    """
    for name in names:
        if name in ENVIRONMENT_ALONE:
            yield name, "is read from the environment alone"
        elif name in REMOVED:
            yield name, f"was removed: {REMOVED[name]}"
        elif name in elsewhere:
            if name.startswith(OURS):
                yield name, NOT_HERE
        elif name not in known:
            if (near := nearest(name, known)) is not None:
                yield name, f"is no setting: did you mean {near}?"
            elif name.startswith(OURS):
                alike = min(known, key=lambda one: (OSA.normalized_distance(name, one), one))
                yield name, f"is no setting; the nearest is {alike}"


def wrong_in_environment(names: Iterable[str], known: Collection[str], elsewhere: Collection[str]) -> tuple[str, ...]:
    """A sentence for each name in the environment that was removed, has no effect in this project (`elsewhere`), or is
    within two letters of a setting and none.
    """
    found = []
    for name in sorted(set(names) - set(known)):
        if name in REMOVED:
            found.append(f"{name} was removed: {REMOVED[name]}.")
        elif name in elsewhere:
            if name.startswith(OURS):
                found.append(f"{name} {NOT_HERE}.")
        elif (near := nearest(name, known)) is not None:
            found.append(f"{name} has no effect: did you mean {near}?")
    return tuple(found)
