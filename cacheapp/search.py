"""Searching an index through the protected client: reads only, bounded in size and time."""

from collections import Counter
from typing import Any

import msgspec
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    BadRequestError,
    NotFoundError,
    SerializationError,
    TransportError,
)

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import BadSearch, IllegalName, NotCovered, no_such_name
from cacheapp.index_name_queries import query_on_index_name
from cacheapp.reports import SearchReport
from cacheapp.search_rules import Reference, references_in
from cacheapp.search_target import Target, one_name, target_of
from cacheapp.state.expressions import Asked, Expression, asked
from cacheapp.state.names import Selection, check_name
from cacheapp.state.visible import Visible
from cacheapp.validation import Validate, Validations, told
from esassistant.elasticsearch.answers import AnswerKind, closed_index, failure_kind, missing_index
from esassistant.elasticsearch.client import unavailable
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.elasticsearch.passing import PassingCalls
from esassistant.elasticsearch.search_head import SearchHead, read_head
from esassistant.errors import EsassistantError
from esassistant.http.answer import Answer
from esassistant.long_work import in_thread_if_large
from esassistant.resource import Handle

MAX_BODY_BYTES = 64 * 1024
SMALL_BODY_BYTES = 8 * 1024
"""Going through a search of this size takes some milliseconds at worst."""
MAX_SIZE = 1_000
DEFAULT_SIZE = 10
LONGEST_SECONDS = 10.0
REASON_LENGTH = 500


KEYS = frozenset(
    {
        *("query", "from", "size", "sort", "_source", "fields", "docvalue_fields", "highlight", "track_total_hits"),
        *("aggs", "aggregations", "post_filter", "collapse", "search_after", "min_score", "suggest", "knn", "explain"),
        *("track_scores", "script_fields", "runtime_mappings", "version", "seq_no_primary_term", "indices_boost"),
    }
)
"""The keys that a search body may have at the top level."""
EMPTY = b"{}"


def parse_search(raw: bytes) -> dict[str, Any]:
    """Return the search in a request's body. An empty body finds everything.

    The body is decoded only to be checked; it is sent as it came. This parser and Elasticsearch can't understand it
    differently: comments and other encodings than UTF-8 are refused here, and a key that comes twice is refused by
    Elasticsearch.

    Raises:
        BadSearch: it is no search, or has keys or a size that aren't allowed; the detail says what to send instead.
    """
    if len(raw) > MAX_BODY_BYTES:
        raise BadSearch(f"Send at most {MAX_BODY_BYTES} bytes.")
    try:
        search: dict[str, Any] = msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        raise BadSearch('Send a JSON object such as {"query":{"match":{"message":"error"}},"size":10}.') from None
    if unknown := sorted(search.keys() - KEYS):
        raise BadSearch(f"{unknown[0][:80]!r} can't be used here; use some of {', '.join(sorted(KEYS))}.")
    size = search.get("size", DEFAULT_SIZE)
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise BadSearch(f"Use size with a whole number from 0 to {MAX_SIZE}.")
    return search


class Searches:
    """Sends searches through the public client. One per process; used only on its event loop."""

    def __init__(
        self,
        client: AsyncElasticsearch,
        cache: MappingCache,
        selection: Selection,
        timeout: float,
        *,
        scripts: bool = False,
        validations: Validations | None = None,
    ) -> None:
        """Make it. `timeout`: of the client's calls, in seconds. `scripts`: whether searches may have scripts.
        `validations`: what validates searches before they are sent; None: nothing does.
        """
        seconds = min(LONGEST_SECONDS, timeout)
        self._calls = PassingCalls(client, seconds)
        # A little less than the client's timeout, so that what was found by then still arrives.
        self._target = "/{}/_search?timeout=" + f"{int(900 * seconds)}ms"
        self._cache = cache
        self._selection = selection
        self._scripts = scripts
        self._validations = validations
        self._counts: Counter[str] = Counter()

    async def answer(self, name: str, raw: bytes, validate: Validate = Validate.WARN, *, visible: Visible) -> Answer:
        """Send a search, and return Elasticsearch's own answer.

        Args:
            name: the index, alias or data stream, or a list or pattern.
            raw: the request's body. It is checked, and sent as it came.
            validate: what happens if validation finds something wrong with the search.
            visible: the names that exist for the caller. Names inside the search have to be among them too.

        Raises:
            IllegalName: `name` can't be a name, or isn't a legal list or pattern.
            MappingNotFound: there is no such name, or nothing matches.
            TooMuch: the list or pattern stands for more than a search can be sent to.
            BadSearch: the search is not allowed here, or Elasticsearch refused it.
            SearchHasErrors: validation found an error, and `validate` says to refuse such searches.
            ClusterUnavailable: Elasticsearch can't be asked, or no call may be sent now.
        """
        search, references = await in_thread_if_large(len(raw), self._parsed, raw, large_bytes=SMALL_BODY_BYTES + 1)
        wanted = asked(name, visible)
        target = await self._target_of(wanted, visible)
        await in_thread_if_large(
            len(raw), self._check_names, search, references, visible, large_bytes=SMALL_BODY_BYTES + 1
        )
        findings = (
            await self._validations.findings(wanted, raw, validate, visible) if self._validations is not None else ()
        )
        try:
            body = await self._send(target, raw or EMPTY, passes_over=target.passes_over)
        except (ApiError, TransportError) as error:
            if target.passes_over or not _is_about_another(error, target, self._cache):
                raise self._failure(error, target) from error
            body = await self._sent_again(target, raw or EMPTY)
        # Whether the rest is JSON isn't checked: Elasticsearch's answers are JSON, and answers from anything else have
        # been refused.
        if not (body.startswith(b"{") and body.endswith(b"}")):
            raise unavailable(SerializationError("the answer is no JSON object"))
        self._count(read_head(body))
        return told(Answer(body, "application/json"), findings)

    def _parsed(self, raw: bytes) -> tuple[dict[str, Any], list[Reference]]:
        """Return the search, and the names of other indices in it. Raise `BadSearch`."""
        search = parse_search(raw)
        return search, references_in(search, scripts=self._scripts)

    def _check_names(self, search: dict[str, Any], references: list[Reference], visible: Visible) -> None:
        """Raise `BadSearch` unless the search may use the names in it."""
        if not visible.everything and (where := query_on_index_name(search)) is not None:
            raise BadSearch(
                f"{where}: a token with a scope can't search by _index, which finds names of aliases beyond it too. "
                "Search an index by its name in the address; an aggregation of the terms of _index tells indices apart."
            )
        for reference in references:
            self._check_reference(reference, visible)

    async def _target_of(self, wanted: Asked, visible: Visible) -> Target:
        """Return what the search is sent to. Raise what `answer` raises."""
        if not isinstance(wanted, Expression):
            self._check_exact(wanted, visible)
            return one_name(wanted)
        resolved = await self._cache.resolve(wanted)
        for name in resolved.missing:
            visible.check(name)
        for name in (*resolved.exact, *resolved.missing):
            self._check_exact(name, visible)
        return target_of(resolved)

    def _check_exact(self, name: str, visible: Visible) -> None:
        self._cache.check_name(name)
        if not self.may_read(name, visible):
            raise no_such_name(name)

    async def _send(self, target: Target, raw: bytes, *, passes_over: bool) -> bytes:
        address = self._target.format(target.names) + ("&ignore_unavailable=true" if passes_over else "")
        return await self._calls.post(address, raw, endpoint="search", path_parts={"index": target.names})

    async def _sent_again(self, target: Target, raw: bytes) -> bytes:
        """Send the search again and let Elasticsearch ignore what isn't there any more. This is right because a pattern
        gave the name that is missing.
        """
        try:
            return await self._send(target, raw, passes_over=True)
        except (ApiError, TransportError) as error:
            raise self._failure(error, target) from error

    def report(self) -> SearchReport:
        return SearchReport(**self._counts)

    def _count(self, head: SearchHead | None) -> None:
        counts = self._counts
        counts["answered_total"] += 1
        if head is None:
            counts["untold_total"] += 1
            return
        counts["timed_out_total"] += head.timed_out
        counts["failed_shards_total"] += head.failed_shards > 0
        counts["empty_total"] += head.hits == 0

    def may_read(self, name: str, visible: Visible, *, pattern: bool = False) -> bool:
        """Return whether a search may read what has this name. The same rule holds for the name it is sent to and for
        names inside it.

        Args:
            name: a legal name of an index, alias or data stream.
            visible: the names that exist for the caller.
            pattern: whether `name` is a pattern; then all names that it stands for have to be allowed.
        """
        # If the caller's patterns cover this pattern, they cover every name that it stands for.
        if not visible.covers(name) or (pattern and self._selection.exclude):
            return False
        return self._selection.covers(name) or name in self._cache.snapshot.aliases

    def _check_reference(self, reference: Reference, visible: Visible) -> None:
        """Raise `BadSearch` unless the search may use that index."""
        name, is_pattern = reference.name, reference.may_be_pattern and "*" in reference.name
        try:
            check_name(name.replace("*", "x") if is_pattern else name, upper_case=True)
        except IllegalName as error:
            raise BadSearch(f"{reference.where}: {error.detail}") from None
        if not self.may_read(name, visible, pattern=is_pattern):
            raise BadSearch(f"{reference.where}: there is no index, alias or data stream named {name!r} to search.")

    def _failure(self, error: ApiError | TransportError, target: Target) -> EsassistantError:
        """Return the error for the caller: a name isn't there, the search is wrong, or the cluster can't be asked."""
        if isinstance(error, AnswerTooLarge):
            return BadSearch(f"{error.detail} Ask for less: a smaller size, fewer fields by _source, fewer buckets.")
        name = _index_of(error)
        kind = failure_kind(error, name if name in target.exact else None)
        if kind is AnswerKind.ABSENT and name is not None:
            return no_such_name(name)
        unknown = sorted(name for name in target.exact if not self._cache.is_known(name))
        if kind is AnswerKind.DENIED and self._cache.warm and unknown:
            return NotCovered(unknown[0], unavailable(error))
        # A search may name other indices too, in a terms lookup for instance.
        is_of_another = isinstance(error, NotFoundError) and missing_index(error.body) is not None
        if isinstance(error, ApiError) and (is_of_another or isinstance(error, BadRequestError)):
            return BadSearch(f"Elasticsearch refused the search: {_reason(error)[:REASON_LENGTH]}")
        return unavailable(error)


SEARCH: Handle[Searches] = Handle("search")


def _index_of(error: ApiError | TransportError) -> str | None:
    """Return the index that is missing or closed according to an error; None if the error says neither."""
    body = error.body if isinstance(error, ApiError) else None
    return missing_index(body) or closed_index(body)


def _is_about_another(error: ApiError | TransportError, target: Target, cache: MappingCache) -> bool:
    """Return whether a search failed for a missing or closed index that none of the exact names stands for."""
    if not target.has_others or (index := _index_of(error)) is None:
        return False
    aliases = cache.snapshot.aliases
    return index not in target.exact and not any(index in aliases.get(name, ()) for name in target.exact)


def _reason(error: ApiError) -> str:
    try:
        cause = msgspec.json.decode(error.body)["error"]["root_cause"][0]
        return f"{cause['type']}: {cause['reason']}"
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):  # msgspec's own error is a ValueError
        return "it gave no reason."
