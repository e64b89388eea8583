"""Find queries on the field `_index` in a search. They are refused for callers with a scope. Pure.

Elasticsearch compares a query on `_index` with the names of all aliases too. A search of `logs-1` for `_index: secret*`
finds its documents if an alias `secret-project` stands for it (tried on nodes of 8.19), so such a query would tell a
caller with a scope which aliases exist. Sorts and aggregations by `_index` give only names of indices, and are not
counted as such queries.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cacheapp.search_rules import FIELD_QUERIES, Path, shown
from cacheapp.state.names import matches

INDEX_FIELD = "_index"
_TEXT_QUERIES = frozenset({"multi_match", "combined_fields", "query_string", "simple_query_string"})
"""Queries that name their fields in `fields` or `default_field`, possibly by patterns."""
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NAMED = re.compile(r"(?<![^\W\d])(?<!\.)_index\s*:")
"""`_index:`, also right after the number of a boost, but not as the end of a longer name."""
_WORD = re.compile(r"[\w.*]+")
_COLON = re.compile(r"\s*:")


def query_on_index_name(search: Mapping[str, Any]) -> str | None:
    """Return where a decoded search has a query on `_index`, as a path for people; None if it has none."""
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
    """Return whether a field, or a pattern of fields, matches `_index`. In Elasticsearch `*` alone doesn't."""
    return field != "*" and matches(INDEX_FIELD, field)


def _names_index(text: object) -> bool:
    """Return whether a text of `query_string` names the field `_index`, escaped or not. May be True for a text that
    doesn't.
    """
    if not isinstance(text, str):
        return False
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
    return bool(_NAMED.search(plain)) or any(map(_stands_for_index, _patterns_in(plain)))


def _patterns_in(text: str) -> Iterator[str]:
    """Yield the patterns of fields in a text: words with a star before a colon.

    Not by one expression for all of it: that would take quadratic time on a long word without a colon.
    """
    for word in _WORD.finditer(text):
        if "*" in word[0] and _COLON.match(text, word.end()):
            yield word[0]
