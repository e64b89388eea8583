"""The fields of an index, an alias or a data stream as a flat list, and the search in it.

The list says what `_field_caps` would, from the mappings alone: objects, multi-fields, aliases and runtime fields have
entries of their own, metadata fields have none. Where it differs: types are named as the mapping names them
(`_field_caps` says `keyword` for `constant_keyword` and `wildcard`, `text` for `match_only_text`, `object` for
`passthrough`), objects without fields are listed, and the sub-fields that `search_as_you_type` adds by itself aren't.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cacheapp.mapping.tree import (
    MAX_DEPTH,
    OBJECT_TYPES,
    Body,
    Definition,
    Indices,
    bodies,
    definitions,
    is_set,
    together,
    type_of,
)
from esassistant.errors import BadRequest

MAX_QUERY_CHARACTERS = 200
"""Of a search: each of its words is looked for in each field."""


@dataclass(frozen=True, slots=True)
class TypeIndices:
    """The indices in which a field has this type: how many, and the first by name."""

    type: str
    indices_total: int
    indices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field over all indices that have it (`indices_total`).

    `types` has several entries where indices disagree; then `conflict` says which type is in which indices, and is
    empty otherwise. `searchable` and `aggregatable` are None where indices disagree or the type isn't known. `type`,
    `meta` and `format` of an alias (`alias_of`) are those of the field it stands for. `nested_path` is the innermost
    nested object around the field. Where indices differ in anything else, the newest by name speaks.
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
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    conflict: tuple[TypeIndices, ...] = ()


def fields(mappings: Mapping[str, bytes]) -> tuple[Field, ...]:
    """The fields of `mappings` (index name → JSON of its mapping), sorted by name. Never raises: what can't be read as
    a mapping counts as an empty one.
    """
    found: dict[str, list[tuple[Field, Indices]]] = {}
    for body in bodies(mappings):
        for name, of_body in _of_body(body).items():
            found.setdefault(name, []).append((of_body, body.indices))
    return tuple(_merged(found[name]) for name in sorted(found))


def check_query(q: str) -> None:
    """Raises `BadRequest` for one that `search` would refuse."""
    if len(q) > MAX_QUERY_CHARACTERS:
        raise BadRequest(f"A search has at most {MAX_QUERY_CHARACTERS} characters.")


def search(among: Iterable[Field], q: str) -> tuple[Field, ...]:
    """The fields whose dotted name contains every word of `q`, whatever the case. First those with a word as their
    whole name or its last part, then those with a word at the beginning of one of the two, then all others; each in the
    order given. Without a word: all. Raises `BadRequest` when `q` has more than `MAX_QUERY_CHARACTERS`.
    """
    check_query(q)
    words = tuple(dict.fromkeys(q.casefold().split()))
    ranked: tuple[list[Field], ...] = ([], [], [])
    for candidate in among:
        name = candidate.name.casefold()
        if all(word in name for word in words):
            ranked[_rank(name, words)].append(candidate)
    return tuple(one for rank in ranked for one in rank)


def _rank(name: str, words: Iterable[str]) -> int:
    ends = (name, name.rpartition(".")[2])
    if any(word in ends for word in words):
        return 0
    return 1 if any(end.startswith(word) for word in words for end in ends) else 2


def _merged(found: list[tuple[Field, Indices]]) -> Field:
    newest = found[-1][0]
    by_type: dict[str, list[Indices]] = {}
    for of_body, indices in found:
        by_type.setdefault(of_body.types[0], []).append(indices)
    types = tuple(sorted(by_type))
    per_type = [(name, together(by_type[name])) for name in types]
    return replace(
        newest,
        types=types,
        searchable=_agreed(of_body.searchable for of_body, _ in found),
        aggregatable=_agreed(of_body.aggregatable for of_body, _ in found),
        indices_total=sum(indices.total for _, indices in per_type),
        conflict=tuple(TypeIndices(name, indices.total, indices.names) for name, indices in per_type)
        if len(types) > 1
        else (),
    )


def _agreed(answers: Iterable[bool | None]) -> bool | None:
    distinct = set(answers)
    return distinct.pop() if len(distinct) == 1 else None


def _of_body(body: Body) -> dict[str, Field]:
    """The fields of one mapping, by name."""
    passed: dict[str, tuple[int, Field]] = {}
    mapped = {one.name: one for one in _mapped(body.mapping, "", None, 0, passed)}
    # A runtime field shadows the mapped one of its name in searches.
    named = mapped | {one.name: one for one in _runtime(body.mapping)}
    found = {name: one for name, (_, one) in passed.items()} | named
    found |= {name: _field(name, "object", {}, None) for name in set(_implied(found))}
    return {name: _resolved(one, found) for name, one in found.items()}


def _implied(found: Mapping[str, Field]) -> Iterator[str]:
    """What stands before the dots: runtime fields and those of flat mappings are in objects that nothing defines."""
    for name in found:
        parent = name.rpartition(".")[0]
        while parent and parent not in found:
            yield parent
            parent = parent.rpartition(".")[0]


def _mapped(
    definition: Definition, path: str, nested_path: str | None, depth: int, passed: dict[str, tuple[int, Field]]
) -> Iterator[Field]:
    """What is mapped below `definition`. `passed` takes up the fields of passthrough objects by the name without the
    object, under which they can be searched too; of several the one with the highest priority.
    """
    for name, below in definitions(definition).items():
        full_name = path + name
        kind = type_of(below)
        yield _field(full_name, kind, below, nested_path)
        for multi_name, multi in definitions(below, "fields").items():
            yield replace(
                _field(f"{full_name}.{multi_name}", type_of(multi), multi, nested_path), multi_field_of=full_name
            )
        if kind not in OBJECT_TYPES or depth >= MAX_DEPTH:
            continue
        prefix = f"{full_name}."
        around = full_name if kind == "nested" else nested_path
        for one in _mapped(below, prefix, around, depth + 1, passed):
            yield one
            if kind == "passthrough" and one.types[0] not in OBJECT_TYPES:
                alias = replace(one, name=one.name.removeprefix(prefix), alias_of=one.name, multi_field_of=None)
                priority = _priority(below)
                if alias.name not in passed or passed[alias.name][0] < priority:
                    passed[alias.name] = (priority, alias)


def _priority(passthrough: Definition) -> int:
    priority = passthrough.get("priority")
    return priority if isinstance(priority, int) else 0


def _runtime(mapping: Definition) -> Iterator[Field]:
    """Runtime fields: computed from each document, so searches and aggregations take all of them but lookups."""
    for name, definition in definitions(mapping, "runtime").items():
        if type_of(definition) == "composite":
            of_fields = {f"{name}.{below}": one for below, one in definitions(definition, "fields").items()}
        else:
            of_fields = {name: definition}
        for full_name, one in of_fields.items():
            usable = type_of(one) != "lookup"
            yield replace(
                _field(full_name, type_of(one), one, None), runtime=True, searchable=usable, aggregatable=usable
            )


def _field(name: str, kind: str, definition: Definition, nested_path: str | None) -> Field:
    searchable, aggregatable = CAPABILITIES.get(kind, (_unknown, _unknown))
    date_format, meta, path = definition.get("format"), definition.get("meta"), definition.get("path")
    return Field(
        name=name,
        types=(kind,),
        searchable=searchable(definition),
        aggregatable=aggregatable(definition),
        indices_total=0,
        nested_path=nested_path,
        alias_of=path if kind == "alias" and isinstance(path, str) else None,
        format=date_format if isinstance(date_format, str) else None,
        meta={key: value for key, value in meta.items() if isinstance(value, str)} if isinstance(meta, dict) else {},
    )


def _resolved(one: Field, found: Mapping[str, Field]) -> Field:
    """An alias with what it has from its target, which is never an alias itself; any other field as it is."""
    target = None if one.alias_of is None else found.get(one.alias_of)
    if target is None:
        return one
    return replace(target, name=one.name, alias_of=one.alias_of, multi_field_of=None, runtime=False)


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
    """Doc values alone can be searched too, slowly."""
    return _indexed(definition) or _with_doc_values(definition)


def _with_stated_doc_values(definition: Definition) -> bool:
    return is_set(definition, "doc_values", default=False)


def _with_fielddata(definition: Definition) -> bool:
    return is_set(definition, "fielddata", default=False)


Rule = Callable[[Definition], bool | None]

_OBJECT: tuple[Rule, Rule] = (_never, _never)
_POINTS: tuple[Rule, Rule] = (_with_either, _with_doc_values)
_STRICTLY_INDEXED: tuple[Rule, Rule] = (_indexed, _with_doc_values)
_TEXT: tuple[Rule, Rule] = (_indexed, _with_fielddata)
_SEARCH_ONLY: tuple[Rule, Rule] = (_always, _never)
_ALL: tuple[Rule, Rule] = (_always, _always)

CAPABILITIES: dict[str, tuple[Rule, Rule]] = {
    **dict.fromkeys(OBJECT_TYPES | {"percolator", "rank_features", "rank_vectors"}, _OBJECT),
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
"""Of each type: when a field can be searched, and when it can be aggregated and sorted by."""

KEPT_COUNTS = 10_000


class FieldCounts:
    """The counts of the mappings asked for last, by hash. May be used in any thread."""

    def __init__(self, kept: int = KEPT_COUNTS) -> None:
        self._max_kept = kept
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, mapping_hash: str, body: bytes) -> int:
        """The number of fields of the mapping `body`, whose hash this is."""
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
    """How many fields `fields` lists for this mapping."""
    [parsed] = bodies({"": body})
    names = set(_runtime_names(parsed.mapping))
    for name, _, passed in _mapped_paths(parsed.mapping, "", 0):
        names.add(name)
        names.update(passed)
    implied = set()
    for name in names:
        parent = name.rpartition(".")[0]
        while parent and parent not in names and parent not in implied:
            implied.add(parent)
            parent = parent.rpartition(".")[0]
    return len(names) + len(implied)


def _mapped_paths(definition: Definition, path: str, depth: int) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    """Of each field below: its name, whether it is an object, and under which names passthrough objects pass it on."""
    for name, below in definitions(definition).items():
        full_name = path + name
        kind = type_of(below)
        yield full_name, kind in OBJECT_TYPES, ()
        for multi_name, multi in definitions(below, "fields").items():
            yield f"{full_name}.{multi_name}", type_of(multi) in OBJECT_TYPES, ()
        if kind not in OBJECT_TYPES or depth >= MAX_DEPTH:
            continue
        prefix = f"{full_name}."
        for inner, is_object, passed in _mapped_paths(below, prefix, depth + 1):
            passes = kind == "passthrough" and not is_object
            yield inner, is_object, (*passed, inner.removeprefix(prefix)) if passes else passed


def _runtime_names(mapping: Definition) -> Iterator[str]:
    for name, definition in definitions(mapping, "runtime").items():
        if type_of(definition) == "composite":
            yield from (f"{name}.{below}" for below in definitions(definition, "fields"))
        else:
            yield name
