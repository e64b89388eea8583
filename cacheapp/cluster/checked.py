"""Which parts of the cluster's answers are accepted: legal names that come once each, and mappings that can be read."""

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
"""The largest mapping of an index that is accepted. It has 100,000 fields or more, a hundred times what Elasticsearch
allows by default; its schema, its list of fields and its pages take seconds.
"""
MAX_MEMBERS = 300_000
"""How many members all objects of a mapping together may have; a field has at least two. Half a million of them in 8 MB
stopped the event loop for seconds.
"""
SHOWN_CHARACTERS = 80
REMEMBERED_MAPPINGS = 50_000


class Name:
    """A key of an answer while it is parsed. Each `Name` is a different key of the dictionary, so that a name that
    comes twice is noticed.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def once_each(named: Mapping[Name, T]) -> dict[str, T]:
    """Return the values of `named` by their names as text. Raise `ClusterUnavailable` if a name comes twice, because it
    isn't clear which value is right.
    """
    once = {name.text: value for name, value in named.items()}
    if len(once) < len(named):
        raise ClusterUnavailable("Elasticsearch answered with the same name twice.")
    return once


class NameCheck:
    """Checks names, counts the illegal ones, and logs the first of them. Used only on one event loop."""

    def __init__(self) -> None:
        self.illegal_total = 0

    def is_legal(self, name: str, *, upper_case: bool = False) -> bool:
        """Return whether `name` is legal. `upper_case`: capitals are allowed, which only aliases may have."""
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
    """Checks whether mappings can be read by callers and pages.

    A check takes some 25 ms for each megabyte, and most mappings come again with each pass, so the hashes of readable
    ones are remembered.
    """

    def __init__(self, *, remembered: int = REMEMBERED_MAPPINGS) -> None:
        self._remembered = remembered
        self._readable: set[str] = set()

    def is_readable(self, mapping: bytes) -> bool:
        """Return whether a JSON value is an object in UTF-8, not too large, that every parser reads alike: no key comes
        twice within an object, and no number is too large for parsers. Called in threads.
        """
        if not mapping.startswith(b"{") or len(mapping) > MAX_MAPPING_BYTES:
            return False
        if mapping.count(b":") > MAX_MEMBERS:  # colons in strings count too: better too high
            return False
        hashed = mapping_hash(mapping)
        if hashed not in self._readable:
            try:
                # Not with msgspec: it accepts a key that comes twice, and holds the interpreter's lock all the time.
                json.loads(mapping.decode(), object_pairs_hook=_check_keys, parse_float=_check_number)
            except (ValueError, RecursionError):
                return False
            if len(self._readable) >= self._remembered:
                self._readable.clear()
            self._readable.add(hashed)
        return True


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    # Returns nothing, so that the objects around this one hold nothing in memory.
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")


def _check_number(text: str) -> None:
    if math.isinf(float(text)):
        raise ValueError("a number is too large")
