"""How many fields a mapping has: as many as `fields` lists, without making the list."""

import threading
from collections import OrderedDict
from collections.abc import Iterator

from cacheapp.mapping_tree import MAX_DEPTH, OBJECT_TYPES, Definition, bodies, definitions, type_of

KEPT = 10_000


class FieldCounts:
    """The counts of the mappings asked for last, by hash. May be used in any thread."""

    def __init__(self, kept: int = KEPT) -> None:
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
    names = set(_runtime(parsed.mapping))
    for name, _, passed in _mapped(parsed.mapping, "", 0):
        names.add(name)
        names.update(passed)
    implied = set()
    for name in names:
        parent = name.rpartition(".")[0]
        while parent and parent not in names and parent not in implied:
            implied.add(parent)
            parent = parent.rpartition(".")[0]
    return len(names) + len(implied)


def _mapped(definition: Definition, path: str, depth: int) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
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
        for inner, is_object, passed in _mapped(below, prefix, depth + 1):
            passes = kind == "passthrough" and not is_object
            yield inner, is_object, (*passed, inner.removeprefix(prefix)) if passes else passed


def _runtime(mapping: Definition) -> Iterator[str]:
    for name, definition in definitions(mapping, "runtime").items():
        if type_of(definition) == "composite":
            yield from (f"{name}.{below}" for below in definitions(definition, "fields"))
        else:
            yield name
