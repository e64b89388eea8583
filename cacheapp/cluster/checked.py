"""What of the cluster's answers is taken over: names that can be names, once each, and mappings that can be read."""

import json
import logging
import math
from collections.abc import Mapping
from typing import TypeVar

from cacheapp.errors import IllegalName
from cacheapp.state.names import check_name
from cacheapp.state.snapshot import mapping_hash
from esassistant.errors import ClusterUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_MAPPING_BYTES = 8_000_000
"""Of one index: 100,000 fields and more, a hundred times what Elasticsearch allows unless told otherwise. Schema, list
of fields and pages of so many take seconds.
"""
MAX_MEMBERS = 300_000
"""Of all objects of a mapping together: a field has two at least. Half a million in 8 MB held the loop for seconds."""
SHOWN_CHARACTERS = 80
REMEMBERED_MAPPINGS = 50_000


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


class MappingCheck:
    """Tells mappings that callers and pages can read.

    Checking one costs some 25 ms a megabyte, and most come again with each pass: those found readable are remembered by
    their hash.
    """

    def __init__(self, *, remembered: int = REMEMBERED_MAPPINGS) -> None:
        self._remembered = remembered
        self._readable: set[str] = set()

    def is_readable(self, mapping: bytes) -> bool:
        """Whether a JSON value is an object in UTF-8 of a size that can be worked on, that every parser reads alike:
        no key comes twice within an object, and no number is beyond what parsers take. Called in threads.
        """
        if not mapping.startswith(b"{") or len(mapping) > MAX_MAPPING_BYTES:
            return False
        if mapping.count(b":") > MAX_MEMBERS:  # colons within strings are counted too: rather too many than decoded
            return False
        hashed = mapping_hash(mapping)
        if hashed not in self._readable:
            try:
                # Not by msgspec: it keeps the last of two keys, and the interpreter to itself.
                json.loads(mapping.decode(), object_pairs_hook=_check_keys, parse_float=_check_number)
            except (ValueError, RecursionError):
                return False
            if len(self._readable) >= self._remembered:
                self._readable.clear()
            self._readable.add(hashed)
        return True


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    # Gives nothing back, so that the objects around hold nothing.
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")


def _check_number(text: str) -> None:
    if math.isinf(float(text)):
        raise ValueError("a number is too large")
