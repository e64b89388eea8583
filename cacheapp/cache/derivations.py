"""Derive things from mappings: once for each distinct mapping, merged once for each set of them, and kept within a
number of bytes.

Rolled-over indices share their mapping, so nothing here is kept by the names of indices. A thousand indices with nine
mappings take nine derivations, and one more index with a known mapping takes none. A snapshot in which only ages
changed has the same mappings, so everything stays valid.
"""

import asyncio
import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

from cacheapp.cache.kept import KeptByBytes
from cacheapp.mapping.tree import Indices
from cacheapp.reports import ViewsReport
from cacheapp.state.distinct import Distinct
from esassistant.http.answer import Answer, etag_of
from esassistant.single_flight import SingleFlight, Spawn

MAX_KEPT_BYTES = 33_554_432
"""The most memory for all views together, by their own estimates."""
KEY_BYTES = 400
"""The memory that a key takes for each distinct mapping in it: its hash, and the first indices that have it. Lists and
patterns stand for any number of sets of mappings, and what is made of a set may be smaller than its key.
"""
CONTENT_BYTES = 1_000
"""The memory that a content takes, its body aside."""

Part = TypeVar("Part")
Whole = TypeVar("Whole")
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True, eq=False)
class View(Generic[Part, Whole]):
    """A kind of thing that is derived from mappings. Its functions are pure, and called in a thread.

    Args:
        name: Unique among all views.
        derive: Makes a part of one mapping, given as JSON.
        merge: Makes a whole. It is given the parts of distinct mappings, ordered by the first index that has each, and
            the indices of each, in the same order.
        part_bytes: Estimates how much memory a part takes.
        whole_bytes: Estimates how much memory a whole takes.
        counts_indices: Whether the whole depends on the number of indices, or, if several mappings are merged, on their
            names. If it doesn't, `merge` must not use the indices, and a rollover needs no new merge.
    """

    name: str
    derive: Callable[[bytes], Part]
    merge: Callable[[Sequence[Part], Sequence[Indices]], Whole]
    part_bytes: Callable[[Part], int]
    whole_bytes: Callable[[Whole], int]
    counts_indices: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Text(Generic[Whole]):
    """How the whole of a view is answered: as bytes that are made once and kept.

    Args:
        name: Unique among all texts.
        view: The view whose wholes are written.
        write: Writes a whole, given the name that was asked for and the indices that have each mapping. Pure, and
            called in a thread.
        content_type: The media type of what it writes.
        has_title: Whether the text depends on the name, or on the names of indices.
    """

    name: str
    view: View[Any, Whole]
    write: Callable[[str, Whole, Sequence[Indices]], bytes]
    content_type: str
    has_title: bool = False


@dataclass(slots=True, eq=False)
class Content:
    """The bytes of a text with their entity tag. `answer`: the last answer made of it, with the key that it depends
    on.
    """

    body: bytes
    etag: str
    answer: tuple[Hashable, Answer] | None = field(default=None, repr=False)


class Derivations:
    """Makes and keeps parts, wholes and contents. One per process; used only on its event loop.

    Only one thread works for it at a time. Several would hold up the event loop, because each may keep the
    interpreter's lock for several milliseconds.
    """

    def __init__(self, spawn: Spawn, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._kept: KeptByBytes[Hashable, Any] = KeptByBytes(max_bytes)
        self._flights: SingleFlight[Hashable, Any] = SingleFlight(spawn)
        self._turn = asyncio.Lock()
        self._derived_total = 0
        self._merged_total = 0
        self._written_total = 0

    async def whole(self, view: View[Any, Whole], distinct: Sequence[Distinct]) -> Whole:
        """Return the whole of distinct mappings: kept, or made in a thread, once for all who wait."""
        key = whole_key(view, distinct)
        if (kept := self._kept.find(key)) is not None:
            return cast("Whole", kept)
        made: Whole = await self._flights.do(key, lambda: self._merge(view, key, distinct))
        return made

    async def parts(self, view: View[Part, Any], distinct: Sequence[Distinct]) -> list[Part]:
        """Return the part of each of distinct mappings: kept, or made in a thread, one after the other."""
        return [await self._part(view, one) for one in distinct]

    async def _part(self, view: View[Part, Any], one: Distinct) -> Part:
        key = "part", view.name, one.mapping_hash
        if (kept := self._kept.find(key)) is not None:
            return cast("Part", kept)
        made: Part = await self._flights.do(key, lambda: self._derive(view, key, one))
        return made

    async def _derive(self, view: View[Part, Any], key: Hashable, one: Distinct) -> Part:
        async with self._turn:
            if (kept := self._kept.find(key)) is not None:  # a merge has made it meanwhile
                return cast("Part", kept)
            part = await asyncio.to_thread(_derived, view, one)
            self._derived_total += 1
            self._kept.keep(key, part, KEY_BYTES + view.part_bytes(part))
            return part

    async def content(self, text: Text[Any], name: str, distinct: Sequence[Distinct]) -> Content:
        """Return the text of distinct mappings for the name that was asked for: kept, or made as `whole` makes it."""
        key = content_key(text, name, distinct)
        if (kept := self.ready(key)) is not None:
            return kept
        made: Content = await self._flights.do(key, lambda: self._write(text, key, name, distinct))
        return made

    def ready(self, key: Hashable) -> Content | None:
        """Return the content with that key; None if it isn't kept."""
        return self._kept.find(key)

    async def in_turn(self, function: "Callable[[*Arguments], T]", *arguments: *Arguments) -> T:
        """Call `function` in a thread while nothing else is made, and return its result."""
        async with self._turn:
            return await asyncio.to_thread(function, *arguments)

    def report(self) -> ViewsReport:
        kept = self._kept
        return ViewsReport(
            self._derived_total,
            self._merged_total,
            self._written_total,
            kept.dropped_total,
            kept.kept_bytes,
            kept.max_bytes,
        )

    async def _merge(self, view: View[Any, Whole], key: Hashable, distinct: Sequence[Distinct]) -> Whole:
        async with self._turn:
            keys = [("part", view.name, one.mapping_hash) for one in distinct]
            parts = [self._kept.find(part_key) for part_key in keys]
            made, whole = await asyncio.to_thread(_made, view, distinct, parts)
            for place, part in made.items():
                self._kept.keep(keys[place], part, KEY_BYTES + view.part_bytes(part))
            self._derived_total += len(made)
            self._merged_total += 1
            self._kept.keep(key, whole, KEY_BYTES * len(distinct) + view.whole_bytes(whole))
            return whole

    async def _write(self, text: Text[Any], key: Hashable, name: str, distinct: Sequence[Distinct]) -> Content:
        whole = await self.whole(text.view, distinct)
        async with self._turn:
            content = await asyncio.to_thread(_written, text, name, whole, [one.counted for one in distinct])
            self._written_total += 1
            self._kept.keep(key, content, KEY_BYTES * len(distinct) + CONTENT_BYTES + len(content.body))
            return content


def whole_key(view: View[Any, Any], distinct: Sequence[Distinct]) -> Hashable:
    """Return the key of a whole: the distinct mappings, and what the whole depends on of their indices."""
    if not view.counts_indices:
        return "whole", view.name, tuple(one.mapping_hash for one in distinct)
    if len(distinct) == 1:
        return "whole", view.name, distinct[0].mapping_hash, len(distinct[0].indices)
    return "whole", view.name, tuple((one.mapping_hash, one.counted) for one in distinct)


def content_key(text: Text[Any], name: str, distinct: Sequence[Distinct]) -> Hashable:
    """Return the key of a content: that of the whole, or, if the text has a title, the name and the indices."""
    if not text.has_title:
        return "content", text.name, whole_key(text.view, distinct)
    return "content", text.name, name, tuple((one.mapping_hash, one.counted) for one in distinct)


def _made(
    view: View[Part, Whole], distinct: Sequence[Distinct], parts: list[Part | None]
) -> tuple[dict[int, Part], Whole]:
    """Make a whole. Return the parts that weren't kept, by their places, and the whole."""
    with _uninterrupted():
        made = {place: view.derive(one.body) for place, one in enumerate(distinct) if parts[place] is None}
        whole = view.merge(
            [made[place] if part is None else part for place, part in enumerate(parts)],
            [one.counted for one in distinct],
        )
    return made, whole


def _derived(view: View[Part, Any], one: Distinct) -> Part:
    with _uninterrupted():
        return view.derive(one.body)


def _written(text: Text[Whole], name: str, whole: Whole, indices: Sequence[Indices]) -> Content:
    with _uninterrupted():
        body = text.write(name, whole, indices)
    return Content(body, etag_of(body))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Switch garbage collection off for the length of a block.

    Parsing a large mapping makes tens of thousands of objects at once. These would start one full collection after the
    other, and each would stop the event loop until it has visited all objects. No collection would find anything,
    because nothing made here is part of a reference cycle.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
