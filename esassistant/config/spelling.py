"""Finds names in the environment or in a file of settings that look like misspelled settings. Pure."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from rapidfuzz.distance import OSA

LETTERS: Final = 2
"""A misspelled name differs from a setting by at most this many letters: wrong, missing, extra or swapped. A higher
limit would accuse variables of others: Kubernetes sets `ELASTICSEARCH_PORT` and `ESASSISTANT_SERVICE_HOST`.
"""
SHORT: Final = 6
"""Names with fewer letters than this may differ by one letter only."""
OURS: Final = ("ESASSISTANT_", "ELASTICSEARCH_", "MAPPING_CACHE_", "HEALTH_CACHE_")
"""A name in a file of settings that begins with one of these is meant for this service."""
ENVIRONMENT_ALONE: Final = ("ESASSISTANT_HOME", "ESASSISTANT_ENV_FILE")
"""Settings that count only in the environment, as they say where the file is."""
NOT_HERE: Final = "has no effect in a project that embeds this service: Django's own settings say it there"
REMOVED: Final = {
    "MAPPING_REFRESH_TIMEOUT": "MAPPING_CACHE_FETCH_TIMEOUT holds for every reading of mappings",
}
"""Settings of earlier versions, each with what replaces it."""


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the setting that a name was probably meant to be: the most similar one within `LETTERS`, or None."""
    near = min(known, key=lambda one: (OSA.distance(name, one), one))
    allowed = LETTERS if min(len(name), len(near)) >= SHORT else 1
    return near if OSA.distance(name, near) <= allowed else None


def wrong_in_file(
    names: Iterable[str], known: Collection[str], elsewhere: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield those names in a file of settings that were meant to be settings but have no effect, each with what is
    wrong.

    1. The name is a setting that is read from the environment alone.
    2. It is a setting that was removed.
    3. It is a setting that a project that embeds this service doesn't have (`elsewhere`).
    4. It is within two letters of a setting, or begins as only our settings do.

    Any other name may belong to somebody else, and is left out.
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
    """Return a sentence for each name in the environment that was removed, that has no effect in this project
    (`elsewhere`), or that is no setting but within two letters of one.
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
