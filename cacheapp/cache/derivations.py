"""Derive things from mappings: once per distinct mapping, merged once per set of them, and kept by bytes.

Rolled-over indices share their mapping. So nothing here goes by the names of indices: a thousand indices with nine
mappings take nine derivations, and one more index with a known mapping takes none. A snapshot in which only ages
changed has the same mappings, and empties nothing.
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
"""Of all views together, by their own estimates."""
CONTENT_BYTES = 1_000
"""What a content takes beside its body."""

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
        merge: Makes the whole of the parts of distinct mappings, ordered by the first index that has each, and of these
            indices, in the same order.
        part_bytes: Estimates what a part takes in memory.
        whole_bytes: Estimates what a whole takes in memory.
        counts_indices: Whether the whole depends on the number of indices, or on their names where several mappings are
            merged. Where it doesn't, `merge` must not use the indices, and a rollover merges nothing anew.
    """

    name: str
    derive: Callable[[bytes], Part]
    merge: Callable[[Sequence[Part], Sequence[Indices]], Whole]
    part_bytes: Callable[[Part], int]
    whole_bytes: Callable[[Whole], int]
    counts_indices: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Text(Generic[Whole]):
    """How what a view gives is answered: as bytes that are made once and kept.

    Args:
        name: Unique among all texts.
        view: What is written.
        write: Writes it, given the name that was asked for, and the indices that have each mapping. Pure, and called
            in a thread.
        content_type: Of what is written.
        has_title: Whether it depends on the name, or on the names of indices.
    """

    name: str
    view: View[Any, Whole]
    write: Callable[[str, Whole, Sequence[Indices]], bytes]
    content_type: str
    has_title: bool = False


@dataclass(slots=True, eq=False)
class Content:
    """The bytes of a text with their validator. `answer` may hold the last answer that was made of it, with what that
    depends on.
    """

    body: bytes
    etag: str
    answer: tuple[Hashable, Answer] | None = field(default=None, repr=False)


class Derivations:
    """One per process; belongs to its loop. At most one thread works on it at a time, whoever asks: several would take
    turns with the loop, and each turn is several milliseconds.
    """

    def __init__(self, spawn: Spawn, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._kept: KeptByBytes[Hashable, Any] = KeptByBytes(max_bytes)
        self._flights: SingleFlight[Hashable, Any] = SingleFlight(spawn)
        self._turn = asyncio.Lock()
        self._derived_total = 0
        self._merged_total = 0
        self._written_total = 0

    async def whole(self, view: View[Any, Whole], distinct: Sequence[Distinct]) -> Whole:
        """What `view` gives for distinct mappings: kept, or made in a thread, once for all who wait."""
        key = whole_key(view, distinct)
        if (kept := self._kept.find(key)) is not None:
            return cast("Whole", kept)
        made: Whole = await self._flights.do(key, lambda: self._merge(view, key, distinct))
        return made

    async def parts(self, view: View[Part, Any], distinct: Sequence[Distinct]) -> list[Part]:
        """What `view` derives of each of distinct mappings: kept, or made in a thread, each in a turn of its own."""
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
            self._kept.keep(key, part, view.part_bytes(part))
            return part

    async def content(self, text: Text[Any], name: str, distinct: Sequence[Distinct]) -> Content:
        """The text of distinct mappings, for whoever asks for `name`: kept, or made as `whole` is."""
        key = content_key(text, name, distinct)
        if (kept := self.ready(key)) is not None:
            return kept
        made: Content = await self._flights.do(key, lambda: self._write(text, key, name, distinct))
        return made

    def ready(self, key: Hashable) -> Content | None:
        """The content of that key, if it is kept."""
        return self._kept.find(key)

    async def in_turn(self, function: "Callable[[*Arguments], T]", *arguments: *Arguments) -> T:
        """What `function` returns, called in a thread, alone."""
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
                self._kept.keep(keys[place], part, view.part_bytes(part))
            self._derived_total += len(made)
            self._merged_total += 1
            self._kept.keep(key, whole, view.whole_bytes(whole))
            return whole

    async def _write(self, text: Text[Any], key: Hashable, name: str, distinct: Sequence[Distinct]) -> Content:
        whole = await self.whole(text.view, distinct)
        async with self._turn:
            content = await asyncio.to_thread(_written, text, name, whole, [one.counted for one in distinct])
            self._written_total += 1
            self._kept.keep(key, content, len(content.body) + CONTENT_BYTES)
            return content


def whole_key(view: View[Any, Any], distinct: Sequence[Distinct]) -> Hashable:
    """By what a whole is kept: the distinct mappings, and of their indices what it depends on."""
    if not view.counts_indices:
        return "whole", view.name, tuple(one.mapping_hash for one in distinct)
    if len(distinct) == 1:
        return "whole", view.name, distinct[0].mapping_hash, len(distinct[0].indices)
    return "whole", view.name, tuple((one.mapping_hash, one.counted) for one in distinct)


def content_key(text: Text[Any], name: str, distinct: Sequence[Distinct]) -> Hashable:
    """By what a content is kept: what it is written of, and where it has a title, the name and the indices."""
    if not text.has_title:
        return "content", text.name, whole_key(text.view, distinct)
    return "content", text.name, name, tuple((one.mapping_hash, one.counted) for one in distinct)


def _made(
    view: View[Part, Whole], distinct: Sequence[Distinct], parts: list[Part | None]
) -> tuple[dict[int, Part], Whole]:
    """The parts that weren't kept, by place, and the whole."""
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
    """Without garbage collections for the length of a block. Taking a large mapping apart makes tens of thousands of
    objects at once, which set off one full collection after the other; each holds the loop until it has visited all
    that there is. Nothing made here is part of a circle, so none would find anything.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
