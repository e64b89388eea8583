"""What is derived from mappings for callers: the list of fields, and the JSON Schema."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import msgspec

from cacheapp.cache.derivations import (
    MAX_KEPT_BYTES,
    Content,
    Derivations,
    Text,
    View,
    content_key,
)
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cache.refresh_ahead import Room, Shelf
from cacheapp.mapping.fields import (
    Field,
    FieldCounts,
    field_list,
    fields_of,
    merged_fields,
    size_of,
)
from cacheapp.mapping.schema import WrittenSchema, schema_text, written_schema
from cacheapp.mapping.tree import parse
from cacheapp.reports import ViewsReport
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.asked_for import AskedFor
from cacheapp.state.distinct import Distinct, grouped
from cacheapp.state.expressions import Asked
from cacheapp.state.field_pages import FieldFilter, compact, field_page
from esassistant.clock import Clock, monotonic
from esassistant.http.answer import etag_of
from esassistant.resource import Handle
from esassistant.single_flight import Spawn

JSON = "application/json"
JSON_SCHEMA = "application/schema+json"

Part = TypeVar("Part")
Whole = TypeVar("Whole")
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

MANY_FIELDS = 500
"""Up to this many fields are searched in less than a millisecond; more are searched in a thread."""

FIELDS: View[tuple[Field, ...], tuple[Field, ...]] = View("fields", fields_of, merged_fields, size_of, size_of)
"""The fields of a name, sorted by name."""

SCHEMA: View[bytes, WrittenSchema] = View(
    "schema",
    lambda body: body,  # `merge` needs the mappings themselves: two schemas can't be merged
    lambda bodies, _: written_schema([parse(body) for body in bodies]),
    len,
    lambda written: len(written.members) + 200 * len(written.conflicts),
    counts_indices=False,
)
"""The JSON Schema of the documents that a name accepts."""

FIELD_LIST: Text[tuple[Field, ...]] = Text("field list", FIELDS, lambda _, fields, __: field_list(fields), JSON)
SCHEMA_TEXT: Text[WrittenSchema] = Text("schema", SCHEMA, schema_text, JSON_SCHEMA, has_title=True)

Kind = View[Any, Any] | Text[Any] | None
"""What was asked for of a name: a view, a text, or None for the mappings themselves."""


class MappingViews:
    """Gives what is derived from the mappings of a name. One per process, owned by the registry; used only on its event
    loop.

    A mapping may have thousands of fields, so each view is made in a thread, once for all who wait.
    """

    def __init__(
        self,
        cache: MappingCache,
        spawn: Spawn,
        *,
        on_asked: Callable[[str], None] = lambda _: None,
        clock: Clock = monotonic,
        max_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        """Make it. `on_asked` is called with each name that is asked for."""
        self._cache = cache
        self._on_asked = on_asked
        self._derivations = Derivations(spawn, max_bytes=max_bytes)
        self.asked_for: AskedFor[Kind] = AskedFor(clock)
        self.field_counts = FieldCounts()

    async def get(self, view: View[Any, Whole], asked: Asked) -> tuple[MappingAnswer, Whole]:
        """Return an outline of what was asked for, and the whole of `view`. Raise what `MappingCache.get` raises."""
        answer = await self._cache.outline(asked)
        self.note(view, asked)
        return answer, await self.of(view, answer.distinct)

    async def of(self, view: View[Any, Whole], distinct: Sequence[Distinct]) -> Whole:
        """Return the whole of `view` for distinct mappings, whatever the name that stands for them."""
        return await self._derivations.whole(view, distinct)

    async def parts(self, view: View[Part, Any], distinct: Sequence[Distinct]) -> list[Part]:
        """Return the part of `view` for each of distinct mappings."""
        return await self._derivations.parts(view, distinct)

    async def in_turn(self, function: "Callable[[*Arguments], T]", *arguments: *Arguments) -> T:
        """Call `function` in the thread in which views are made, and return its result."""
        return await self._derivations.in_turn(function, *arguments)

    async def text(self, text: Text[Any], asked: Asked) -> tuple[MappingAnswer, Content]:
        """Return an outline of what was asked for, and the text about its mappings. Raise what `MappingCache.get`
        raises.
        """
        answer = await self._cache.outline(asked)
        self.note(text, asked)
        return answer, await self._derivations.content(text, str(asked), answer.distinct)

    def ready(self, text: Text[Any], asked: Asked) -> tuple[MappingAnswer, Content] | None:
        """Return what `text` would return, if it needn't wait, and count it as an answer. None if it has to wait, or
        would raise.
        """
        if (known := self._cache.peek(asked)) is None:
            return None
        key: Hashable = known.derived.get(text)
        if key is None:
            key = known.derived[text] = content_key(text, str(asked), known.distinct)
        if (content := self._derivations.ready(key)) is None:
            return None
        self._cache.note_hit(asked, known)
        self.note(text, asked)
        return known, content

    async def mapping(self, asked: Asked) -> MappingAnswer:
        """Return the mappings themselves. Raise what `MappingCache.get` raises."""
        answer = await self._cache.get(asked)
        self.note(None, asked)
        return answer

    def ready_mapping(self, asked: Asked) -> MappingAnswer | None:
        """Return what `mapping` would return, if it needn't wait, and count it as an answer. None if it has to wait, or
        would raise.
        """
        if (answer := self._cache.ready(asked)) is not None:
            self.note(None, asked)
        return answer

    async def grouped(self, asked: Asked) -> MappingAnswer:
        """Return `{"groups": […]}`: each distinct mapping once, with its indices. Raise what `MappingCache.get`
        raises.
        """
        answer = await self._cache.outline(asked)
        body, etag = await self._derivations.in_turn(_grouped, answer.distinct)
        return msgspec.structs.replace(answer, body=body, etag=etag)

    async def find_fields(
        self, asked: Asked, wanted: FieldFilter, *, limit: int | None, cursor: str | None, is_compact: bool = False
    ) -> MappingAnswer:
        """Return `{"total": …, "fields": […], "next_cursor": …}`: a page of the wanted fields, as JSON.

        Raise what `MappingCache.get` and `field_page` raise.
        """
        wanted.check()
        answer, among = await self.get(FIELDS, asked)
        if len(among) > MANY_FIELDS:
            body, etag = await self._derivations.in_turn(_found, among, wanted, limit, cursor, is_compact)
        else:
            body, etag = _found(among, wanted, limit, cursor, is_compact)
        return msgspec.structs.replace(answer, body=body, etag=etag)

    def note(self, kind: Kind, asked: Asked) -> None:
        """Note that something was asked for, so that it is counted, and made anew after a change.

        Lists and patterns are not noted: there are any number of them, and each would have to be resolved anew.
        """
        if isinstance(asked, str):
            self.asked_for.note(kind, asked)
            self._on_asked(asked)

    async def rebuild(self, kind: Kind, name: str, room: Room) -> None:
        """Make again what was asked for, if its mappings are in memory and there is room for it. The cluster isn't
        asked.
        """
        if not room.has(Shelf.MAPPINGS if kind is None else Shelf.TEXTS):
            return
        rendered = await self._cache.render(name, outline=kind is not None)
        if rendered is None:
            return
        if kind is None:
            room.take(Shelf.MAPPINGS, name, len(rendered.body))
        elif isinstance(kind, Text):
            content = await self._derivations.content(kind, name, rendered.distinct)
            room.take(Shelf.TEXTS, content.etag, len(content.body))
        else:
            await self._derivations.whole(kind, rendered.distinct)

    def report(self) -> ViewsReport:
        return self._derivations.report()


MAPPING_VIEWS: Handle[MappingViews] = Handle("mapping_views")


def _grouped(distinct: Sequence[Distinct]) -> tuple[bytes, str]:
    body = grouped(distinct)
    return body, etag_of(body)


def _found(
    among: tuple[Field, ...], wanted: FieldFilter, limit: int | None, cursor: str | None, is_compact: bool
) -> tuple[bytes, str]:
    """Return a page of fields as JSON, and its entity tag."""
    page = field_page(among, wanted, limit, cursor)
    rows = [compact(field) for field in page.fields] if is_compact else page.fields
    body = field_list(rows, total=page.total, next_cursor=page.next_cursor)
    return body, etag_of(body)
