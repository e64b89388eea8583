"""What of the cluster's answers is taken over: names that can be names, once each, and mappings that can be read."""

import logging
from collections.abc import Mapping
from typing import TypeVar

from cacheapp.errors import IllegalName
from cacheapp.state.names import check_name
from esassistant.errors import ClusterUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_MAPPING_BYTES = 8_000_000
"""Of one index: 100,000 fields and more, a hundred times what Elasticsearch allows unless told otherwise. Schema, list
of fields and pages of so many take seconds.
"""
SHOWN_CHARACTERS = 80


class Name:
    """A key of an answer while that is taken apart. Each is another, so that a name that comes twice is seen."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def once_each(named: Mapping[Name, T]) -> dict[str, T]:
    """Return the same by the names themselves. Raises `ClusterUnavailable` when one comes twice: which is right?"""
    once = {name.text: value for name, value in named.items()}
    if len(once) < len(named):
        raise ClusterUnavailable("Elasticsearch answered with the same name twice.")
    return once


class NameCheck:
    """Tells names from what can be none, counts what isn't one and says so once. Belongs to one loop."""

    def __init__(self) -> None:
        self.illegal_total = 0

    def is_legal(self, name: str, *, upper_case: bool = False) -> bool:
        """Whether `name` can be one. `upper_case`: of an alias, which alone may have that."""
        try:
            check_name(name, upper_case=upper_case)
        except IllegalName as error:
            if not self.illegal_total:
                shown = ascii(name[:SHOWN_CHARACTERS])
                logger.warning("left out a name that the cluster gave, as is every such: %s (%s)", shown, error.detail)
            self.illegal_total += 1
            return False
        return True


def is_readable(mapping: bytes) -> bool:
    """Whether a JSON value is a mapping that callers and pages can read. What is within strings was not looked at
    before: it may be anything but UTF-8.
    """
    if not mapping.startswith(b"{") or len(mapping) > MAX_MAPPING_BYTES:
        return False
    try:
        mapping.decode()
    except UnicodeDecodeError:
        return False
    return True
