"""The fields of an index, alias or data stream as searches see them: made once from the mappings, then looked up by
path.

There is one `MappingFields` for each distinct mapping, so that a finding can say in how many indices a field has which
type. Besides the fields that a mapping lists, searches can use names that stand nowhere in it: keys of flattened
objects, sub-fields that types add by themselves, and the fields of passthrough objects by their short names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from cacheapp.mapping.fields import CAPABILITIES
from cacheapp.mapping.tree import COMPOSITE, OBJECT_TYPES, Definition, FieldNode, bodies, is_set, nodes

METADATA = frozenset(
    {
        *("_id", "_index", "_source", "_size", "_doc_count", "_field_names", "_ignored", "_routing", "_meta", "_tier"),
        *("_version", "_seq_no", "_primary_term", "_nested_path", "_feature", "_data_stream_timestamp", "_tsid", "_ts"),
        *("_score", "_doc", "_shard_doc", "_type", "_ignored_source", "_inference_fields", "_ts_routing_hash"),
        *("_rank", "_uid", "_timestamp", "_ttl", "_all", "_parent", "_exists_", "_name", "_recovery_source"),
    }
)
"""Names that no mapping lists, and that are never reported as unknown."""

KEYED = "flattened_key"
"""Our own name for the type of a key within a flattened object."""
OPAQUE = frozenset({"semantic_text", "rank_features", "aggregate_metric_double", "percolator", "join", "completion"})
"""Types whose fields may have sub-fields that no mapping lists."""
_ADDED = ("._2gram", "._3gram", "._4gram", "._index_prefix", "._index_phrase")
"""The ends of sub-fields that types add by themselves. Others are written after a `#`."""
MAX_ALIAS_STEPS = 5


class KnownField(msgspec.Struct, frozen=True):
    """One field of one mapping. An alias has everything from its target except the path.

    Args:
        path: The name by which a search reaches it.
        type: As the mapping names it; `flattened_key` for a key of a flattened object.
        definition: Its parameters.
        nested_path: The path of the innermost nested object around it.
        is_runtime: Whether a script computes it.
        multi_field_of: The path of the field whose values it indexes once more.
        target: If it is an alias or a short name: the path of the field that it stands for.
    """

    path: str
    type: str
    definition: Definition
    nested_path: str | None = None
    is_runtime: bool = False
    multi_field_of: str | None = None
    target: str | None = None

    @property
    def is_object(self) -> bool:
        return self.type in OBJECT_TYPES

    @property
    def is_searchable(self) -> bool:
        """Whether queries find it. Fields of unknown types count as searchable."""
        if self.is_runtime:
            return self.type != "lookup"
        able = CAPABILITIES.get("flattened" if self.type == KEYED else self.type)
        return able is None or able[0](self.definition) is not False

    @property
    def has_doc_values(self) -> bool:
        """Whether aggregations and sorts can read it. Fields of unknown types count as readable."""
        if self.is_runtime:
            return self.type != "lookup"
        if self.type == "dense_vector":
            return True  # only docvalue_fields takes it
        able = CAPABILITIES.get("flattened" if self.type == KEYED else self.type)
        return able is None or able[1](self.definition) is not False


class MappingFields:
    """The fields of one distinct mapping; immutable once made."""

    def __init__(self, mapping: Definition) -> None:
        self.fields: dict[str, KnownField] = {}
        self.disabled: set[str] = set()
        self._copies: dict[str, frozenset[str | None]] = {}
        self._dynamic: dict[str, str] = {"": _dynamic(mapping, default="true")}
        found = list(nodes(mapping))
        for node in found:
            self._add(node)
        for node in found:
            self._add_short_names(node)
        self._resolve_aliases()
        self.objects = frozenset(self._implied())
        self._deepest = max((path.count(".") for path in self.fields), default=0)
        self.opaque = frozenset(
            path for path, field in self.fields.items() if field.type in OPAQUE or field.type == "flattened"
        )

    def get(self, path: str) -> KnownField | None:
        """Return the field of that name; None if a search can't use the name."""
        if (found := self.fields.get(path)) is not None:
            return found
        if path in self.objects:
            return KnownField(path, "object", {})
        added_to = _added_to(path)
        if added_to is not None and (base := self.fields.get(added_to)) is not None:
            return KnownField(path, "", {}, base.nested_path, multi_field_of=base.path)
        return self._below_opaque(path) if self.opaque else None

    def can_grow_at(self, path: str) -> bool:
        """Return whether a document could add a field of that name to the mapping."""
        return self._dynamic_at(path) not in ("false", "strict")

    def may_hide(self, path: str) -> bool:
        """Return whether documents may have values under that name although it isn't mapped."""
        if self._dynamic_at(path) == "false" or self.is_disabled(path):
            return True
        for around in self._arounds(path):
            if (field := self.fields.get(around)) is not None and not field.is_object:
                return field.type not in _PLAIN
        return False

    def _dynamic_at(self, path: str) -> str:
        return next((self._dynamic[one] for one in self._arounds(path) if one in self._dynamic), self._dynamic[""])

    def _arounds(self, path: str) -> Iterator[str]:
        """Yield the paths of the objects that a name would be in, the innermost first. None is deeper than the deepest
        field.
        """
        parts = path.split(".", self._deepest + 1)
        for count in range(len(parts) - 1, 0, -1):
            yield ".".join(parts[:count])

    def is_disabled(self, path: str) -> bool:
        """Return whether the name is in an object that Elasticsearch doesn't index (`enabled: false`)."""
        return bool(self.disabled) and any(path == one or path.startswith(f"{one}.") for one in self.disabled)

    def is_visible(self, field: KnownField, nested: str | None) -> bool:
        """Return whether a clause that looks at the documents of the nested object `nested` (None: whole documents)
        sees the field.
        """
        if field.nested_path == nested or field.is_runtime:
            return True
        return field.nested_path is not None and nested in self._copies[field.nested_path]

    def _add(self, node: FieldNode) -> None:
        kind = node.type
        if node.is_runtime and kind == COMPOSITE:
            return
        self.fields[node.path] = KnownField(
            node.path, kind, node.definition, node.nested_path, node.is_runtime, node.multi_field_of
        )
        if kind not in OBJECT_TYPES or node.is_runtime:
            return
        around = node.path.rpartition(".")[0]
        self._dynamic[node.path] = _dynamic(node.definition, default=self._dynamic.get(around, self._dynamic[""]))
        if not is_set(node.definition, "enabled", default=True):
            self.disabled.add(node.path)
            self._dynamic[node.path] = "false"
        if kind == "nested":
            self._copies[node.path] = self._copies_of(node)

    def _copies_of(self, node: FieldNode) -> frozenset[str | None]:
        """Return where else the values of a nested object can be found, by `include_in_parent` and `include_in_root`;
        None stands for the whole document.
        """
        copies: set[str | None] = set()
        if is_set(node.definition, "include_in_root", default=False):
            copies.add(None)
        if is_set(node.definition, "include_in_parent", default=False):
            copies.add(node.nested_path)
            if node.nested_path is not None:
                copies |= self._copies[node.nested_path]
        return frozenset(copies)

    def _add_short_names(self, node: FieldNode) -> None:
        """Add the short names of a field in passthrough objects: its path without the path of the object."""
        if node.type in OBJECT_TYPES:
            return
        for around in node.passthrough:
            short = node.path.removeprefix(f"{around.path}.")
            if short not in self.fields:
                self.fields[short] = KnownField(short, node.type, node.definition, node.nested_path, target=node.path)

    def _resolve_aliases(self) -> None:
        aliases = [field for field in self.fields.values() if field.type == "alias"]
        for alias in aliases:
            target: KnownField | None = alias
            for _ in range(MAX_ALIAS_STEPS):
                if target is None or target.type != "alias":
                    break
                path = target.definition.get("path")
                target = self.fields.get(path) if isinstance(path, str) else None
            if target is not None and target.type != "alias":
                self.fields[alias.path] = msgspec.structs.replace(target, path=alias.path, target=target.path)

    def _implied(self) -> set[str]:
        """Return the objects that no mapping defines, but that the dotted names of other fields imply."""
        implied: set[str] = set()
        for name in self.fields:
            parent = name.rpartition(".")[0]
            while parent and parent not in self.fields and parent not in implied:
                implied.add(parent)
                parent = parent.rpartition(".")[0]
        return implied

    def _below_opaque(self, path: str) -> KnownField | None:
        for around in self._arounds(path):
            if around in self.opaque:
                base = self.fields[around]
                kind = KEYED if base.type == "flattened" else ""
                return KnownField(path, kind, base.definition, base.nested_path, base.is_runtime)
        return None


def _added_to(path: str) -> str | None:
    """Return the field to which its type adds the sub-field of that name; None if the name isn't that of such a
    sub-field.

    Not by a regular expression: callers choose the name, and one would take quadratic time on many `#`.
    """
    last = path.rfind(".")
    if path.endswith(_ADDED):
        return path[:last]
    sign = path.find("#", last + 1)
    return path[:sign] if 0 <= sign < len(path) - 1 else None


class Variant(msgspec.Struct, frozen=True):
    """What a field is in the indices of one distinct mapping. `field` is None where the mapping doesn't have it."""

    mapping: MappingFields
    indices_total: int
    field: KnownField | None


class KnownFields:
    """The fields of an index, alias or data stream, for each of its distinct mappings."""

    def __init__(
        self, groups: Iterable[tuple[MappingFields, int]], runtime: Mapping[str, KnownField] | None = None
    ) -> None:
        self.groups = tuple(groups)
        self.indices_total = sum(total for _, total in self.groups)
        self.fields_total = sum(len(mapping.fields) for mapping, _ in self.groups)
        self._runtime = runtime or {}

    def with_runtime(self, runtime: Mapping[str, KnownField]) -> "KnownFields":
        """Return a copy with the runtime fields that a search defines itself. They hide mapped fields of the same name
        in all indices.
        """
        return KnownFields(self.groups, runtime)

    def find(self, path: str) -> list[Variant]:
        """Return what the field is in each distinct mapping."""
        if (own := self._runtime.get(path)) is not None and self.groups:
            return [Variant(self.groups[0][0], self.indices_total, own)]
        return [Variant(mapping, total, mapping.get(path)) for mapping, total in self.groups]

    def can_grow_at(self, path: str) -> bool:
        return any(mapping.can_grow_at(path) for mapping, _ in self.groups)

    def matching(self, pattern: str) -> list[KnownField]:
        """Return the fields whose names a pattern with `*` matches, each once."""
        return [field for path, field in self.all_fields.items() if matches_pattern(pattern, path)]

    def has_any(self, pattern: str) -> bool:
        """Return whether a pattern matches a field or an object, or could match names that no mapping lists, such as
        keys of a flattened object.
        """
        if any(matches_pattern(pattern, path) for path in self.all_fields):
            return True
        head = pattern.partition("*")[0]
        parent = pattern.removesuffix(".*") if pattern.endswith(".*") else pattern
        return any(
            head.startswith(f"{path}.") or matches_pattern(parent, path)
            for mapping, _ in self.groups
            for path in mapping.opaque | mapping.objects
        )

    @cached_property
    def flattened(self) -> tuple[str, ...]:
        """The paths of flattened objects."""
        return tuple(field.path for field in self.all_fields.values() if field.type == "flattened")

    @cached_property
    def all_fields(self) -> dict[str, KnownField]:
        """The fields of all mappings, by name. Where mappings differ, the one that most indices have decides."""
        if len(self.groups) == 1 and not self._runtime:
            return self.groups[0][0].fields
        found: dict[str, KnownField] = {}
        for mapping, _ in sorted(self.groups, key=lambda group: group[1]):
            found.update(mapping.fields)
        found.update(self._runtime)
        return found


def known_fields(mappings: Mapping[str, bytes]) -> KnownFields:
    """Return the fields of the mappings of a name (index name → JSON). Never raises on a malformed mapping."""
    return KnownFields((MappingFields(body.mapping), body.indices.total) for body in bodies(mappings))


def runtime_fields(mappings: Any) -> dict[str, KnownField]:
    """Return the fields that a search defines itself under `runtime_mappings`. What isn't the definition of a field
    counts as absent.
    """
    if not isinstance(mappings, dict):
        return {}
    found = nodes({"runtime": mappings})
    return {
        node.path: KnownField(node.path, node.type, node.definition, is_runtime=True)
        for node in found
        if node.type != COMPOSITE
    }


def _dynamic(definition: Definition, *, default: str) -> str:
    """Return what happens to unknown names in an object, which is its own `dynamic`, or else that of the object around
    it (`default`).
    """
    given = definition.get("dynamic")
    return default if given is None else str(given).lower()


_PLAIN = frozenset({"keyword", "text", "long", "integer", "short", "byte", "double", "float", "boolean", "date", "ip"})
"""Types whose values in documents are never objects."""


def matches_pattern(pattern: str, name: str) -> bool:
    """Return whether a name matches a pattern with `*`. Takes linear time, whatever the pattern."""
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *between, last = others
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for part in between:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


@lru_cache(maxsize=4096)
def name_words(path: str) -> tuple[str, ...]:
    """Return the words of a field's name in lower case: `customer.fullName` gives customer, full, name."""
    return tuple(part.lower().lstrip("0") or "0" for part in _WORD.findall(path))


_WORD = re.compile(r"[A-ZÀ-Þ]+(?![a-zß-ÿ])|[A-ZÀ-Þ]?[^\W\dA-ZÀ-Þ_]+|\d+")
