"""Tell which names may be sent to Elasticsearch, and encode them.

`.`, `..`, an empty name and `[]` sent to `_mapping` read *every* mapping, and `*` or `,` ask for several. So a name
that can't be legal is refused before anything else happens.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from cacheapp.errors import IllegalName

MAX_NAME_BYTES = 255
ILLEGAL = re.compile(r'[ "*,/<>?\\|#:\x00-\x1f\x7f-\x9f\ud800-\udfff]')


def check_name(name: str, *, upper_case: bool = False) -> str:
    """Return `name` if it can be that of an index, alias or data stream. Raises an `IllegalName` that says why not.

    `upper_case`: the name may have upper-case letters, as aliases of the cluster may.
    """
    if not name:
        raise IllegalName("An index name can't be empty.")
    if name in (".", ".."):
        raise IllegalName("An index can't be named '.' or '..'.")
    if name[0] in "-_+":
        raise IllegalName("An index name can't start with '-', '_' or '+'.")
    if name[0] == "<" and name[-1] == ">":
        raise IllegalName("Date math is not resolved here: send the name of the index that it stands for.")
    if _is_remote(name):
        raise IllegalName("Remote clusters (cluster:index) are not read here: ask a service of that cluster.")
    if "*" in name or "," in name:
        raise IllegalName("One name is needed here, without * and commas: lists and patterns can't be used.")
    if ILLEGAL.search(name):
        raise IllegalName('An index name has no blanks, control characters, or any of " * , / < > ? \\ | # :')
    if not upper_case and name != name.lower():
        raise IllegalName("An index name is in lower case.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise IllegalName(f"An index name has at most {MAX_NAME_BYTES} bytes.")
    return name


def _is_remote(name: str) -> bool:
    cluster, _, index = name.partition(":")
    return bool(cluster and index) and not ILLEGAL.search((cluster + index).replace("*", ""))


def matches(name: str, pattern: str) -> bool:
    """Return whether `name` matches a pattern of Elasticsearch's kind, with `*` for any characters."""
    return matcher(pattern)(name)


def is_beginning(pattern: str) -> bool:
    """Return whether a pattern is the beginning of a name and a star, so that `startswith` can compare it. `*` alone
    isn't: it doesn't match names with a dot first.
    """
    return len(pattern) > 1 and pattern.find("*") == len(pattern) - 1


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test for comparing many names with one pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern.__eq__
    if rest == [""]:
        return lambda name: name.startswith(first)
    *middle, last = rest
    return lambda name: _matches(name, first, middle, last)


def _matches(name: str, first: str, middle: list[str], last: str) -> bool:
    """Compare segment by segment, each at the leftmost place where it fits. That takes linear time in practice, where a
    regular expression would backtrack.
    """
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for segment in middle:
        position = name.find(segment, position, end)
        if position < 0:
            return False
        position += len(segment)
    return True


@dataclass(frozen=True, slots=True)
class Selection:
    """Which indices the cache holds: those that match a pattern of `include` and none of `exclude`."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def covers(self, index: str) -> bool:
        if self.include == ("*",) and not self.exclude:
            return True  # shortcut: this runs for every index of every listing
        return any(matches(index, pattern) for pattern in self.include) and not any(
            matches(index, pattern) for pattern in self.exclude
        )


def encode_name(name: str) -> str:
    """Return a name as it is written in the path of a URL."""
    return quote(name, safe="")
