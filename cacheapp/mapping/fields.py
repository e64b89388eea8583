"""List the fields of an index, an alias or a data stream, search in the list, and count the fields.

The list is made from mappings alone, and mostly says what Elasticsearch's `_field_caps` says: objects, multi-fields,
aliases and runtime fields have entries of their own, metadata fields have none. It differs from `_field_caps` in three
ways:

1. Types are named as the mapping names them. (`_field_caps` says `keyword` for `constant_keyword` and `wildcard`,
   `text` for `match_only_text`, and `object` for `passthrough`.)
2. Objects without fields are listed.
3. The sub-fields that the type `search_as_you_type` adds by itself are not listed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from cacheapp.mapping.tree import (
    COMPOSITE,
    MAX_DEPTH,
    OBJECT_TYPES,
    Definition,
    FieldNode,
    Indices,
    bodies,
    definitions,
    is_set,
    nodes,
    parse,
    united,
)
from esassistant.errors import BadRequest

MAX_QUERY_CHARACTERS = 200
"""The longest search text. It is bounded because each of its words is looked for in each field."""
DATES = frozenset({"date", "date_nanos", "date_range"})
"""The types that have a `format`."""
FIELD_BYTES = 370
"""The memory that a field takes besides its name, in bytes, as measured."""


class TypeIndices(msgspec.Struct, frozen=True, gc=False):
    """How many indices have a field with one type, and the first of them by name."""

    type: str
    indices_total: int
    indices: tuple[str, ...]


class Field(msgspec.Struct, frozen=True, gc=False):
    """One field, over all indices that have it.

    Where indices differ in something that has no list of its own below, the field is described as in the last index by
    name, which is mostly the newest.

    Args:
        name: The full dotted name.
        types: The types of the field; several where indices disagree. Of an alias: those of the field it stands for.
        searchable: Whether it can be searched; None where indices disagree or the type isn't known.
        aggregatable: Whether it can be aggregated; None where indices disagree or the type isn't known.
        indices_total: How many indices have the field.
        conflict: Where indices disagree: which indices have which type. Otherwise empty.
        nested_path: The path of the innermost nested object around the field.
        multi_field_of: The path of the field whose values this multi-field indexes once more.
        alias_of: The path of the field that this alias stands for.
        runtime: Whether a script computes the field.
        format: The format of a date. Of an alias: that of the field it stands for.
        meta: The mapping's `meta` of the field. Of an alias: that of the field it stands for.
        format_conflict: The formats of a date, where indices have several (None: the default format). Otherwise empty.
        meta_conflict: The keys of `meta` that have several values, with all of these values.
        nested_path_conflict: The nested objects around the field, where indices differ; otherwise empty. None stands
            for indices in which the field is in no nested object, so that a nested query doesn't find it there.
        too_deep: Whether the field is an object so deep that the fields below it are not listed.
    """

    name: str
    types: tuple[str, ...]
    searchable: bool | None
    aggregatable: bool | None
    indices_total: int
    nested_path: str | None = None
    multi_field_of: str | None = None
    alias_of: str | None = None
    runtime: bool = False
    format: str | None = None
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    conflict: tuple[TypeIndices, ...] = ()
    format_conflict: tuple[str | None, ...] = ()
    meta_conflict: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    nested_path_conflict: tuple[str | None, ...] = ()
    too_deep: bool = False


def fields(mappings: Mapping[str, bytes]) -> tuple[Field, ...]:
    """List the fields of `mappings` (index name → JSON of its mapping), sorted by name.

    Never raises: what cannot be read as a mapping counts as an empty one.
    """
    distinct = bodies(mappings)
    return merged_fields(
        [_sorted(_fields_of_one(body.mapping)) for body in distinct], [one.indices for one in distinct]
    )


def fields_of(body: bytes) -> tuple[Field, ...]:
    """List the fields of one mapping, given as JSON, sorted by name. The mapping counts as that of one index."""
    return _sorted(_fields_of_one(parse(body)))


def merged_fields(lists: Sequence[tuple[Field, ...]], indices: Sequence[Indices]) -> tuple[Field, ...]:
    """Merge the lists of fields that `fields_of` gives for distinct mappings.

    Args:
        lists: One list for each distinct mapping, ordered by the first index that has the mapping.
        indices: The indices that have each of these mappings, in the same order.
    """
    if len(lists) == 1:
        [one], [only] = lists, indices
        return one if only.total == 1 else tuple(replace(field, indices_total=only.total) for field in one)
    by_name: dict[str, list[tuple[Field, Indices]]] = {}
    for one, having in zip(lists, indices, strict=True):
        for field in one:
            by_name.setdefault(field.name, []).append((field, having))
    return tuple(_merged(by_name[name]) for name in sorted(by_name))


ENCODED_AT_ONCE = 500
"""How many fields are encoded as JSON in one call. Other tasks have to wait for that call, which takes half a
millisecond.
"""


def field_list(fields: Sequence[object], *, total: int | None = None, next_cursor: str | None = None) -> bytes:
    """Return `{"total": …, "fields": […], "next_cursor": …}` as JSON. If `total` is None, it is the number of the given
    fields.
    """
    parts = (
        msgspec.json.encode(fields[start : start + ENCODED_AT_ONCE])[1:-1]
        for start in range(0, len(fields), ENCODED_AT_ONCE)
    )
    of, cursor = len(fields) if total is None else total, msgspec.json.encode(next_cursor)
    return b'{"total":%d,"fields":[%b],"next_cursor":%b}' % (of, b",".join(parts), cursor)


def size_of(fields: Sequence[Field]) -> int:
    """Return the estimated size of a list of fields in memory, in bytes."""
    return FIELD_BYTES * len(fields) + sum(len(field.name) for field in fields)


def _sorted(by_name: Mapping[str, Field]) -> tuple[Field, ...]:
    return tuple(by_name[name] for name in sorted(by_name))


def check_query(q: str) -> None:
    """Raise `BadRequest` if `search` would refuse this text."""
    if len(q) > MAX_QUERY_CHARACTERS:
        raise BadRequest(f"A search has at most {MAX_QUERY_CHARACTERS} characters.")


class Named(Protocol):
    """Anything that has the dotted name of a field."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def search(among: Iterable[N], q: str) -> tuple[N, ...]:
    """Return the fields whose dotted name contains every word of `q`, best first, in the order of `ranks`. Raise
    `BadRequest` if `q` is too long.
    """
    return tuple(field for rank in ranks(among, q) for field in rank)


def ranks(among: Iterable[N], q: str) -> tuple[list[N], list[N], list[N]]:
    """Find the fields whose dotted name contains every word of `q`, whatever the case, and rank them. An empty `q`
    finds all fields.

    Returns:
        Three lists: the fields of which a word is the whole name or its last part; those of which the whole name or its
        last part begins with a word; and all others. Each list keeps the order of `among`.

    Raises:
        BadRequest: `q` has more than `MAX_QUERY_CHARACTERS`.
    """
    check_query(q)
    words = tuple(dict.fromkeys(q.casefold().split()))
    ranked: tuple[list[N], list[N], list[N]] = ([], [], [])
    for candidate in among:
        name = candidate.name.casefold()
        if all(word in name for word in words):
            ranked[_rank(name, words)].append(candidate)
    return ranked


def _rank(name: str, words: Iterable[str]) -> int:
    ends = (name, name.rpartition(".")[2])
    if any(word in ends for word in words):
        return 0
    return 1 if any(end.startswith(word) for word in words for end in ends) else 2


def _merged(found: list[tuple[Field, Indices]]) -> Field:
    """Merge one field's entries of several distinct mappings, each given with the indices that have that mapping."""
    last, _ = found[-1]
    by_type: dict[str, list[Indices]] = {}
    for field, indices in found:
        by_type.setdefault(field.types[0], []).append(indices)
    types = tuple(sorted(by_type))
    per_type = [(name, united(by_type[name])) for name in types]
    return replace(
        last,
        types=types,
        searchable=_agreed(field.searchable for field, _ in found),
        aggregatable=_agreed(field.aggregatable for field, _ in found),
        indices_total=sum(indices.total for _, indices in per_type),
        conflict=tuple(TypeIndices(name, indices.total, indices.names) for name, indices in per_type)
        if len(types) > 1
        else (),
        format_conflict=_several(field.format for field, _ in found if field.types[0] in DATES),
        meta_conflict=_meta_conflict([field.meta for field, _ in found if field.meta]),
        nested_path_conflict=_several(field.nested_path for field, _ in found),
        too_deep=any(field.too_deep for field, _ in found),
    )


def _several(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """Return the distinct values with None first; empty if there are fewer than two."""
    distinct = set(values)
    return tuple(sorted(distinct, key=lambda value: (value is not None, value))) if len(distinct) > 1 else ()


def _meta_conflict(metas: Sequence[Mapping[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """Return the keys of `meta` that have several values, with all of these values, as `_field_caps` lists them. A key
    that is missing in some indices is no conflict.
    """
    if len(metas) < 2:
        return {}
    values: dict[str, set[str]] = {}
    for meta in metas:
        for key, value in meta.items():
            values.setdefault(key, set()).add(value)
    return {key: tuple(sorted(values[key])) for key in sorted(values) if len(values[key]) > 1}


def _agreed(answers: Iterable[bool | None]) -> bool | None:
    distinct = set(answers)
    return distinct.pop() if len(distinct) == 1 else None


def _fields_of_one(mapping: Definition) -> dict[str, Field]:
    """Return the fields of one mapping, by name."""
    own: dict[str, Field] = {}
    aliases: dict[str, tuple[int, Field]] = {}
    for node in _listed(mapping):
        # A runtime field comes after the mapped field of the same name, and replaces it, as it does in searches.
        field = own[node.path] = _field(node)
        for name, passthrough in _short_names(node):
            priority = _priority(passthrough)
            if name not in aliases or aliases[name][0] < priority:
                aliases[name] = (priority, replace(field, name=name, alias_of=node.path, multi_field_of=None))
    found = {name: alias for name, (_, alias) in aliases.items()} | own
    found |= {name: _field(FieldNode(name, {}, "object")) for name in _implied(found)}
    return {name: _resolved(field, found) for name, field in found.items()}


def _listed(mapping: Definition) -> Iterator[FieldNode]:
    """Yield the fields that have an entry of their own. Composite runtime fields have none, as only their parts can be
    used.
    """
    return (node for node in nodes(mapping) if not (node.is_runtime and node.type == COMPOSITE))


def _short_names(node: FieldNode) -> Iterator[tuple[str, Definition]]:
    """Yield the short names of a field that is in passthrough objects: its path without the path of the object. Each
    comes with the definition of that object.
    """
    if node.type not in OBJECT_TYPES:
        for around in node.passthrough:
            yield node.path.removeprefix(f"{around.path}."), around.definition


def _implied(names: Collection[str]) -> set[str]:
    """Return the objects that no mapping defines, but that the dotted names of other fields imply, such as those of
    runtime fields.
    """
    implied: set[str] = set()
    for name in names:
        parent = name.rpartition(".")[0]
        while parent and parent not in names and parent not in implied:
            implied.add(parent)
            parent = parent.rpartition(".")[0]
    return implied


def _priority(passthrough: Definition) -> int:
    priority = passthrough.get("priority")
    return priority if isinstance(priority, int) else 0


def _field(node: FieldNode) -> Field:
    definition = node.definition
    if node.is_runtime:
        # Computed from each document, so that searches and aggregations take all of them, except lookups.
        is_searchable, is_aggregatable = _NONE if node.type == "lookup" else _ALL
    else:
        is_searchable, is_aggregatable = CAPABILITIES.get(node.type, (_unknown, _unknown))
    date_format, meta, path = definition.get("format"), definition.get("meta"), definition.get("path")
    return Field(
        name=node.path,
        types=(node.type,),
        searchable=is_searchable(definition),
        aggregatable=is_aggregatable(definition),
        indices_total=1,
        nested_path=node.nested_path,
        multi_field_of=node.multi_field_of,
        alias_of=path if node.type == "alias" and isinstance(path, str) else None,
        runtime=node.is_runtime,
        format=date_format if isinstance(date_format, str) else None,
        meta={key: value for key, value in meta.items() if isinstance(value, str)} if isinstance(meta, dict) else {},
        too_deep=node.type in OBJECT_TYPES and node.depth >= MAX_DEPTH and bool(definitions(definition)),
    )


def _resolved(field: Field, found: Mapping[str, Field]) -> Field:
    """Return an alias with what it has from its target, which is never an alias itself; return any other field as it
    is.
    """
    target = None if field.alias_of is None else found.get(field.alias_of)
    if target is None:
        return field
    return replace(target, name=field.name, alias_of=field.alias_of, multi_field_of=None, runtime=False)


def _always(_: Definition) -> bool:
    return True


def _never(_: Definition) -> bool:
    return False


def _unknown(_: Definition) -> None:
    return None


def _indexed(definition: Definition) -> bool:
    return is_set(definition, "index", default=True)


def _with_doc_values(definition: Definition) -> bool:
    return is_set(definition, "doc_values", default=True)


def _with_either(definition: Definition) -> bool:
    """Return whether a field can be searched by its index or its doc values; the latter is slow."""
    return _indexed(definition) or _with_doc_values(definition)


def _with_stated_doc_values(definition: Definition) -> bool:
    return is_set(definition, "doc_values", default=False)


def _with_fielddata(definition: Definition) -> bool:
    return is_set(definition, "fielddata", default=False)


Capability = Callable[[Definition], bool | None]
Capabilities = tuple[Capability, Capability]

_NONE: Capabilities = (_never, _never)
_POINTS: Capabilities = (_with_either, _with_doc_values)
_STRICTLY_INDEXED: Capabilities = (_indexed, _with_doc_values)
_TEXT: Capabilities = (_indexed, _with_fielddata)
_SEARCH_ONLY: Capabilities = (_always, _never)
_ALL: Capabilities = (_always, _always)

CAPABILITIES: dict[str, Capabilities] = {
    **dict.fromkeys(OBJECT_TYPES | {"percolator", "rank_features", "rank_vectors"}, _NONE),
    **dict.fromkeys(("keyword", "boolean", "date", "date_nanos", "ip", "geo_point", "point"), _POINTS),
    **dict.fromkeys(("long", "integer", "short", "byte", "unsigned_long", "token_count"), _POINTS),
    **dict.fromkeys(("double", "float", "half_float", "scaled_float"), _POINTS),
    **dict.fromkeys(("integer_range", "long_range", "float_range", "double_range"), _STRICTLY_INDEXED),
    **dict.fromkeys(("date_range", "ip_range", "flattened", "geo_shape", "shape"), _STRICTLY_INDEXED),
    **dict.fromkeys(("counted_keyword", "icu_collation_keyword"), _STRICTLY_INDEXED),
    **dict.fromkeys(("text", "annotated_text"), _TEXT),
    "search_as_you_type": (_indexed, _never),
    "dense_vector": (_indexed, _never),
    **dict.fromkeys(("match_only_text", "pattern_text", "patterned_text", "semantic_text"), _SEARCH_ONLY),
    **dict.fromkeys(("completion", "sparse_vector", "rank_feature"), _SEARCH_ONLY),
    **dict.fromkeys(("constant_keyword", "wildcard", "version", "join", "aggregate_metric_double"), _ALL),
    **dict.fromkeys(("murmur3", "histogram", "exponential_histogram"), (_never, _always)),
    "binary": (_never, _with_stated_doc_values),
}
"""Type → whether a field of it can be searched, and whether it can be aggregated and sorted by: two functions of its
definition.
"""

KEPT_COUNTS = 10_000
"""How many counts are kept at most."""


class FieldCounts:
    """Counts the fields of mappings, and keeps the counts of the mappings that were asked for last. May be used in any
    thread.
    """

    def __init__(self, kept: int = KEPT_COUNTS) -> None:
        self._max_kept = kept
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, mapping_hash: str, body: bytes) -> int:
        """Return the number of fields of the mapping `body`, whose hash is `mapping_hash`."""
        with self._lock:
            if mapping_hash in self._counts:
                self._counts.move_to_end(mapping_hash)
                return self._counts[mapping_hash]
        counted = field_count(body)
        with self._lock:
            self._counts[mapping_hash] = counted
            while len(self._counts) > self._max_kept:
                self._counts.popitem(last=False)
        return counted


def field_count(body: bytes) -> int:
    """Return how many fields `fields` would list for this mapping, without making the list."""
    names: set[str] = set()
    for node in _listed(parse(body)):
        names.add(node.path)
        if node.passthrough:
            names.update(name for name, _ in _short_names(node))
    return len(names) + len(_implied(names))


def limited_count(body: bytes) -> int:
    """Return the number that Elasticsearch compares with `index.mapping.total_fields.limit`.

    It counts objects, fields, aliases, multi-fields and runtime fields; a composite runtime field counts once.
    (`total_count` in Elasticsearch's statistics counts metadata fields too, such as `_id`: 13 in 8.19.)
    """
    mapping = parse(body)
    return sum(not node.is_runtime for node in nodes(mapping)) + len(definitions(mapping, "runtime"))
