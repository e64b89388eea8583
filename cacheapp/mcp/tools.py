"""The tools. Each parses the arguments that an agent gives, gets the answer with one call, and makes a text of it.

The caller's scope applies to everything: names outside of it are in no answer, count or suggestion. Errors are worded
so that an agent can correct its call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cacheapp.cache.cluster_fields import ClusterFields
from cacheapp.cache.descriptions import Descriptions
from cacheapp.cache.field_search import FieldSearch, Nearness, find_fields
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.demand.askers import ASKER, Asker
from cacheapp.describe.near_names import names_like
from cacheapp.describe.tokens import count_tokens
from cacheapp.errors import MappingNotFound, NotWarm
from cacheapp.mcp.catalog import TOOLS, Arguments, Describe, FindFields, FindIndices, Search, Tool, ValidateSearch
from cacheapp.mcp.texts import cluster_away, field_line, findings_text, hits_text, name_missing, within
from cacheapp.queries.findings import Severity
from cacheapp.search import Searches
from cacheapp.state.answer import Freshness
from cacheapp.state.expressions import Expression, asked
from cacheapp.state.visible import Visible
from cacheapp.validation import Validate, Validated, Validations
from esassistant.errors import ClusterUnavailable, EsassistantError
from esassistant.http.callers import Caller
from esassistant.units import as_bytes, as_duration

logger = logging.getLogger(__name__)

CALL_SECONDS: Final = 30.0
"""The longest time for a call; what it waits for has shorter deadlines."""
FINDINGS_TOKENS: Final = 1500
MOST_HITS: Final = 100
"""The largest `size` of a search: more hits would only be cut."""
IN_THREAD_BYTES: Final = 32_768
MAX_ANSWER_BYTES: Final = 4_000_000
"""The largest answer to a search that is read. Most of a larger one would be cut, and decoding it holds the event loop
for 10 ms a megabyte, although it is done in a thread.
"""
NEXT_DESCRIBE: Final = "\nNext: describe a name with your question."
NOTHING_MATCHES: Final = "None of the families has to do with these words; here are all, by size.\n"
MAX_FIELDS: Final = 60
HEADS: Final = {
    Nearness.ALL_WORDS: "",
    Nearness.SOME_WORDS: "No field has all of these words; these have some:\n",
    Nearness.MEANING: "No field has these words in its path, or none of that type. Near by meaning:\n",
}
NOTHING_NEAR: Final = (
    "No field has these words in its path, and none is near by meaning.\n"
    "Next: try other words, or find_indices with your question, then describe a name."
)
NOTHING_NEAR_OF_TYPE: Final = (
    "No field of type {} has these words in its path, and none is near by meaning.\n"
    "Next: leave out the type, or try other words."
)


class Mistake(Exception):
    """An agent's call is wrong; the text says how to correct it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a tool."""

    text: str
    is_error: bool = False


def tools_for(caller: Caller) -> list[Tool]:
    """Return the tools that a caller has the right to use."""
    return [tool for tool in TOOLS.values() if caller.may(tool.right)]


class Tools:
    """Calls the tools. One per process; used only on its event loop."""

    def __init__(
        self,
        cache: MappingCache,
        fields: ClusterFields,
        descriptions: Descriptions,
        validations: Validations,
        searches: Searches,
        away_since: Callable[[], datetime | None],
    ) -> None:
        """Make it. `away_since` returns since when no searches have been sent because the cluster can't be asked; None
        if they are sent.
        """
        self._cache = cache
        self._fields = fields
        self._descriptions = descriptions
        self._validations = validations
        self._searches = searches
        self._away_since = away_since
        self._calls: dict[str, Callable[[Any, Visible], Awaitable[str]]] = {
            "find_indices": self._find_indices,
            "describe": self._describe,
            "find_fields": self._find_fields,
            "validate_search": self._validate_search,
            "search": self._search,
        }

    async def call(self, name: str, arguments: object, caller: Caller) -> Outcome:
        """Call a tool for a caller. Errors are returned as outcomes too."""
        visible = Visible(caller.patterns)
        ASKER.set(Asker.AGENT)
        try:
            tool = self._tool(name, caller)
            given = _parsed(tool, arguments)
            async with asyncio.timeout(CALL_SECONDS):
                return Outcome(await self._calls[name](given, visible))
        except Mistake as error:
            return Outcome(str(error), is_error=True)
        except TimeoutError:
            return Outcome(f"{name} took longer than {as_duration(CALL_SECONDS)}. Ask for less.", is_error=True)
        except MappingNotFound as error:
            wanted = str(getattr(given, "names", ""))
            near = await asyncio.to_thread(names_like, wanted, self._cache.snapshot, visible)
            return Outcome(name_missing(error.detail, near), is_error=True)
        except ClusterUnavailable as error:
            if name == "search" and not isinstance(error, NotWarm):
                return Outcome(cluster_away(error.detail, self._away_since()), is_error=True)
            return Outcome(f"{error.detail}\nNext: ask again in a few seconds.", is_error=True)
        except EsassistantError as error:
            return Outcome(error.detail, is_error=True)
        except Exception:
            logger.exception("the tool %s failed", name)
            return Outcome(f"{name} failed by a fault of this service, which its log has.", is_error=True)

    def _tool(self, name: str, caller: Caller) -> Tool:
        if (tool := TOOLS.get(name)) is None:
            raise Mistake(f"There is no tool {name[:100]!r}: use {', '.join(one.name for one in tools_for(caller))}.")
        if not caller.may(tool.right):
            raise Mistake(f'This token may not use {name}: it lacks "{tool.right.value}". The operator can grant it.')
        return tool

    async def _find_indices(self, given: FindIndices, visible: Visible) -> str:
        room = given.tokens - count_tokens(NOTHING_MATCHES + NEXT_DESCRIBE)
        _, found = await self._descriptions.describe_cluster(room, given.question, visible)
        if not found.families_total:
            return "There are no indices that you may see."
        head = NOTHING_MATCHES if given.question and not found.matching_total else ""
        return f"{head}{found.text}{NEXT_DESCRIBE}"

    async def _describe(self, given: Describe, visible: Visible) -> str:
        answer, found = await self._descriptions.describe(
            asked(given.names, visible), given.tokens - 20, given.question, visible
        )
        if answer.freshness is not Freshness.STALE:
            return found.text
        return f"{found.text}\n# as it was {as_duration(answer.age_seconds)} ago"

    async def _find_fields(self, given: FindFields, visible: Visible) -> str:
        wanted = FieldSearch(given.words, given.type, given.names, visible, MAX_FIELDS)
        found = await find_fields(self._fields, self._descriptions, wanted)
        if not found.fields:
            return NOTHING_NEAR_OF_TYPE.format(given.type[:100]) if given.type else NOTHING_NEAR
        head, lines = HEADS[found.nearness], [field_line(field) for field in found.fields]
        return head + within(lines, given.tokens - count_tokens(head), "fields", beyond=found.total - len(lines))

    async def _validate_search(self, given: ValidateSearch, visible: Visible) -> str:
        found = await self._validate(given.names, msgspec.json.encode(given.search), visible)
        return findings_text(found.findings, found.not_checked, FINDINGS_TOKENS)

    async def _search(self, given: Search, visible: Visible) -> str:
        size = given.search.get("size", 10)
        if isinstance(size, int) and size > MOST_HITS:
            raise Mistake(f"Use a size of at most {MOST_HITS}, or an aggregation: more hits would only be cut.")
        raw = msgspec.json.encode(given.search)
        try:
            found = await self._validate(given.names, raw, visible)
        except (NotWarm, MappingNotFound):
            found = None  # the cluster may know names that aren't in memory yet
        if found is not None and not found.valid:
            errors = [finding for finding in found.findings if finding.severity is Severity.ERROR]
            raise Mistake(f"Not searched. {findings_text(errors, (), min(given.tokens, FINDINGS_TOKENS))}")
        answer = await self._searches.answer(given.names, raw, Validate.OFF, visible=visible)
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise Mistake(
                f"The answer has {as_bytes(len(answer.body))}, and at most {as_bytes(MAX_ANSWER_BYTES)} are read. Use "
                "a smaller size, fewer fields in _source, or fewer buckets."
            )
        warnings = () if found is None else found.findings
        total = await self._indices_total(given.names, visible)
        if len(answer.body) < IN_THREAD_BYTES:
            return hits_text(answer.body, given.tokens, given.names, total, warnings)
        return await asyncio.to_thread(hits_text, answer.body, given.tokens, given.names, total, warnings)

    async def _indices_total(self, names: str, visible: Visible) -> int | None:
        """Return how many indices names stand for, as far as is known in memory; None: not known."""
        try:
            resolved = await self._cache.resolve(Expression(names, visible))
        except (NotWarm, MappingNotFound):
            return None
        return None if resolved.missing else len(resolved.indices)

    async def _validate(self, names: str, raw: bytes, visible: Visible) -> Validated:
        return await self._validations.validate(asked(names, visible), raw, visible)


def _parsed(tool: Tool, arguments: object) -> Arguments:
    """Return the arguments of a call. Raise a `Mistake` that says what the tool takes."""
    try:
        return msgspec.convert(arguments, tool.arguments)
    except msgspec.ValidationError as error:
        fields = msgspec.structs.fields(tool.arguments)
        takes = ", ".join(field.name if field.required else f"{field.name} (optional)" for field in fields)
        raise Mistake(f"{tool.name}: {error}. It takes {takes}.") from None
