"""Find queries on `_index` in a search: to a caller with a scope they would tell which aliases there are. Pure.

Elasticsearch compares a query on `_index` with the names of *aliases* too, of all that there are: a search of `logs-1`
for `_index: secret*` finds its documents where an alias `secret-project` stands for it (tried on nodes of 8.19).
Sorting by `_index` and aggregations of it give the names of indices alone, and are no such queries.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cacheapp.search_rules import FIELD_QUERIES, Path, shown
from cacheapp.state.names import matches

INDEX_FIELD = "_index"
_TEXT_QUERIES = frozenset({"multi_match", "combined_fields", "query_string", "simple_query_string"})
"""Queries that name their fields in `fields` or `default_field`, by patterns too."""
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NAMED = re.compile(r"(?<![^\W\d])(?<!\.)_index\s*:")
"""`_index:`, also directly behind the number of a boost, but not as the end of another name."""
_PATTERN = re.compile(r"([\w.*]*\*[\w.*]*)\s*:")


def query_on_index_name(search: Mapping[str, Any]) -> str | None:
    """Return where a decoded search asks by `_index`, as a path for people; None: nowhere."""
    waiting: list[tuple[object, str, Path | tuple[()]]] = [(search, "", ())]
    while waiting:
        value, inside, path = waiting.pop()
        if isinstance(value, list):
            waiting += [(each, inside, (path, number)) for number, each in enumerate(value)]
            continue
        if not isinstance(value, dict):
            continue
        if inside in FIELD_QUERIES and INDEX_FIELD in value:
            return shown((path, INDEX_FIELD))
        if inside in _TEXT_QUERIES and any(_stands_for_index(field) for field in _fields_of(value)):
            return shown(path)
        if inside == "query_string" and _names_index(value.get("query")):
            return shown((path, "query"))
        waiting += [(member, key, (path, key)) for key, member in value.items()]
    return None


def _fields_of(query: Mapping[str, Any]) -> Iterator[str]:
    for key in ("fields", "default_field"):
        given = query.get(key)
        for field in given if isinstance(given, list) else [given]:
            if isinstance(field, str):
                yield field.partition("^")[0]


def _stands_for_index(field: str) -> bool:
    """Whether a field, or a pattern of fields, is `_index`; `*` alone leaves it out, in Elasticsearch."""
    return field != "*" and matches(INDEX_FIELD, field)


def _names_index(text: object) -> bool:
    """Whether a text of `query_string` names the field, however it is escaped. It may say so of one that doesn't."""
    if not isinstance(text, str):
        return False
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
    return bool(_NAMED.search(plain)) or any(_stands_for_index(pattern) for pattern in _PATTERN.findall(plain))
