"""The matrix of who may reach what: a row for each address with what is expected of it, and the names to ask for."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.urls import URLPattern, URLResolver, get_resolver

from dev.servers.service import TOKEN
from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.http.lanes import template_of

READ, SEARCH, REFRESH = Right

KNOWN, MISSING = "logs-web", "logs-nil"
"""Names in the scope: an existing one and a missing one."""
FOREIGN, NOBODYS = "vault-keys", "other-keys"
"""Names outside of the scope: an existing one and a missing one, of the same length."""
FOREIGN_ALIAS = "vault-alias"
"""An alias outside of the scope that stands for an index in the scope."""
FOREIGN_UPPER = "VaultUpper"
SHARED = "shared-index"
"""An index outside of the scope that is visible all the same: the alias `logs-alias`, which is in the scope, stands for
it.
"""
MARK = b"vault"
"""A text in every foreign name, and in the names of the fields there; in lower case."""


class Kind(enum.Enum):
    """How an address decides.

    1. `PROBE`: answers anybody, and doesn't look at tokens.
    2. `TOTALS`: answers anybody with the right token or none. Only callers who may read everything get details.
    3. `NAMED`: is about the name in it, answered from memory. `ASKED`: the same, but asks the cluster each time.
    4. `LISTED`: shows what the caller may see.
    5. `WHOLE`: is about everything.
    6. `PAGE`: a page for callers who may read, which shows what the caller may see; strangers are sent to the login.
    7. `STAFF`: only for sessions of staff.
    """

    PROBE = enum.auto()
    TOTALS = enum.auto()
    NAMED = enum.auto()
    ASKED = enum.auto()
    LISTED = enum.auto()
    WHOLE = enum.auto()
    PAGE = enum.auto()
    STAFF = enum.auto()


@dataclass(frozen=True)
class Row:
    """One address.

    Args:
        template: The address as the metrics name it; it is compared with the URLconf.
        path: The address that is requested, with `{name}` replaced; empty: the template.
        rights: The caller needs one of these rights.
        also: The caller needs this right too.
        known: The status for an existing name, with the cluster up and down.
        missing: The status for a missing name, with the cluster up and down.
    """

    template: str
    kind: Kind
    method: str = "GET"
    path: str = ""
    query: str = ""
    body: bytes = b""
    rights: tuple[Right, ...] = (READ,)
    also: Right | None = None
    known: tuple[int, int] = (200, 200)
    missing: tuple[int, int] = (404, 503)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names to ask this address for."""
        has_name = "{name}" in (self.path or self.template) + self.query
        return (KNOWN, MISSING, FOREIGN, NOBODYS, FOREIGN_ALIAS, FOREIGN_UPPER) if has_name else ("",)


ROWS = (
    Row("/livez", Kind.PROBE),
    Row("/readyz", Kind.PROBE, path="/readyz", query="verbose"),
    Row("/problems/", Kind.TOTALS),
    Row("/problems/{name}", Kind.TOTALS, path="/problems/refused"),
    Row("/api/mappings", Kind.TOTALS, known=(404, 404)),
    Row("/api/mappings/", Kind.TOTALS, known=(404, 404)),
    Row("/api/openapi.json", Kind.TOTALS),
    Row("/api/docs", Kind.TOTALS),
    Row("/docs/", Kind.TOTALS, known=(302, 302)),
    Row("/docs/{name}", Kind.TOTALS, path="/docs/operations"),
    Row("/logout", Kind.TOTALS),
    Row("/", Kind.TOTALS),
    Row("/api/health", Kind.TOTALS, known=(200, 503)),
    Row("/api/cache/stats", Kind.TOTALS),
    Row("/api/indices", Kind.LISTED),
    Row("/api/indices", Kind.LISTED, query="pattern=*&limit=3"),
    Row("/api/indices", Kind.LISTED, query="kind=index&state=open&field=vaulted"),
    Row("/api/fields", Kind.LISTED),
    Row("/api/fields", Kind.LISTED, query="q=vaulted"),
    Row("/api/fields", Kind.LISTED, query=f"pattern={KNOWN}"),
    Row("/api/describe", Kind.LISTED),
    Row("/api/describe", Kind.LISTED, query="q=vaulted&tokens=2000"),
    Row("/api/mappings/{name}", Kind.NAMED),
    Row("/api/mappings/{name}", Kind.NAMED, query="group=mapping"),
    Row("/api/mappings/{name}/schema", Kind.NAMED),
    Row("/api/mappings/{name}/fields", Kind.NAMED),
    Row("/api/mappings/{name}/fields", Kind.NAMED, query="q=vaulted"),
    Row("/api/mappings/{name}/fields", Kind.NAMED, query="leaves=true&limit=2&compact=true&values=true"),
    Row("/api/mappings/{name}/describe", Kind.NAMED),
    Row("/api/mappings/{name}/validate", Kind.NAMED, "POST", body=b'{"query":{}}', missing=(404, 404)),
    Row("/api/mappings/{name}/history", Kind.NAMED, missing=(200, 200)),
    Row("/api/changes", Kind.LISTED, query="pattern=*"),
    Row("/api/changes", Kind.LISTED, query=f"pattern={FOREIGN}"),
    Row("/api/changes", Kind.WHOLE),
    Row("/api/compare", Kind.NAMED, query=f"a={KNOWN}&b={{name}}"),
    Row("/api/compare", Kind.NAMED, query=f"a={{name}}&b={KNOWN}"),
    Row("/api/indices/{name}/search", Kind.ASKED, "POST", rights=(SEARCH,), known=(200, 503)),
    Row(
        "/api/indices/{name}/search",
        Kind.ASKED,
        "POST",
        query="validate=warn",
        body=b'{"size":1}',
        rights=(SEARCH,),
        known=(200, 503),
    ),
    Row("/api/cache/refresh", Kind.ASKED, "POST", query="index={name}", rights=(REFRESH,), also=READ, known=(200, 503)),
    Row("/api/cache/refresh", Kind.WHOLE, "POST", query="wait=true", rights=(REFRESH,), known=(200, 503)),
    Row(
        "/api/cache/refresh/{refresh_id}",
        Kind.WHOLE,
        path="/api/cache/refresh/0123456789ab",
        rights=(READ, REFRESH),
        known=(404, 404),
    ),
    Row("/api/performance", Kind.WHOLE),
    Row("/metrics", Kind.WHOLE),
    Row("/browse/", Kind.PAGE),
    Row("/browse/", Kind.PAGE, query="q=logged+at"),
    Row("/browse/", Kind.PAGE, query="group=mapping"),
    Row("/browse/", Kind.PAGE, query="group=name&sort=changes"),
    Row("/browse/{name}", Kind.PAGE),
    Row("/changes", Kind.PAGE, query="since=all"),
    Row("/compare", Kind.PAGE, query="a={name}&b=logs-alias"),
    Row("/validate", Kind.PAGE),
    Row("/describe", Kind.PAGE),
    Row("/describe", Kind.PAGE, query="name={name}&tokens=500"),
    Row("/admin/status/", Kind.STAFF),
    Row("/admin/status/live", Kind.STAFF, known=(302, 302)),
    Row("/admin/status/refresh", Kind.STAFF),
)
"""Every address of this project, except the admin's own tables."""


def templates(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[str]:
    """Yield all addresses of the URLconf, except the admin's own tables."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":
                yield from templates(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield template_of(route)


@dataclass(frozen=True)
class Holder:
    """Somebody who sends requests. `scoped`: whether only some of the names exist for them."""

    name: str
    token: str = ""
    rights: frozenset[Right] = frozenset()
    is_known: bool = True
    scoped: bool = False
    staff: bool = False


def _holder(name: str, *rights: Right, scoped: bool = False) -> Holder:
    return Holder(name, f"token-of-{name}-0123456789", frozenset(rights), scoped=scoped)


HOLDERS = (
    Holder("none", is_known=False),
    Holder("wrong", "no-token-of-ours", is_known=False),
    Holder("expired", "token-of-expired-0123456789", is_known=False),
    _holder("reader", READ),
    _holder("searcher", SEARCH),
    _holder("refresher", REFRESH),
    _holder("scoped", *Right, scoped=True),
    _holder("whole", *Right),
    Holder("api", TOKEN, frozenset(Right)),
    Holder("staff", rights=frozenset(Right), staff=True),
)
SCOPED_TOKENS = tuple(
    ScopedToken(
        holder.name,
        digest_of(holder.token.encode()),
        holder.rights or frozenset(Right),
        ("logs-*",) if holder.scoped else ("*",),
        datetime(2020, 1, 1, tzinfo=UTC) if holder.name == "expired" else None,
    )
    for holder in HOLDERS
    if holder.token.startswith("token-of-")
)


def expected(row: Row, holder: Holder, name: str, *, up: bool) -> int:  # noqa: C901  (the rules, in order)
    """Return the status that an address has to answer.

    1. Probes don't look at tokens. Anywhere else, a wrong or expired token gets 401.
    2. Addresses for staff send everybody else to the login.
    3. Callers without a token get totals; pages send them to the login; other addresses answer 401.
    4. Callers without the right, or with a scope where everything is needed, get 403.
    5. A name outside of the scope gets 404, or 400 if it can't be a name, with the cluster up or down.
    6. Otherwise the status is that for an existing or a missing name.
    """
    place = 0 if up else 1
    if row.kind is Kind.PROBE:
        return row.known[place]
    if not holder.is_known and holder.token:
        return 401
    if row.kind is Kind.STAFF:
        return row.known[place] if holder.staff else 302
    if row.kind is Kind.TOTALS:
        return row.known[place]
    if row.kind is Kind.PAGE:
        if not holder.is_known:
            return 302
        if READ not in holder.rights:
            return 403
    elif not holder.is_known:
        return 401
    elif not holder.rights & {*row.rights} or (row.also or row.rights[0]) not in {*holder.rights, *row.rights}:
        return 403
    if row.kind is Kind.WHOLE and holder.scoped:
        return 403
    if holder.scoped and name in (FOREIGN, NOBODYS, FOREIGN_ALIAS):
        return 404
    if holder.scoped and name == FOREIGN_UPPER:
        return 400
    return row.missing[place] if name in (MISSING, NOBODYS) else row.known[place]


def referring(name: str) -> dict[str, bytes]:
    """Return searches that name another index inside, by the place where they do."""
    queries: dict[str, Any] = {
        "terms lookup": {"terms": {"logged": {"index": name, "id": "1", "path": "vaulted"}}},
        "more_like_this": {"more_like_this": {"fields": ["logged"], "like": [{"_index": name, "_id": "1"}]}},
        "indexed_shape": {"geo_shape": {"place": {"indexed_shape": {"index": name, "id": "1", "path": "vaulted"}}}},
        "percolate": {"percolate": {"field": "logged", "index": name, "id": "1"}},
    }
    bodies: dict[str, Any] = {place: {"query": query} for place, query in queries.items()}
    bodies["indices_boost"] = {"indices_boost": [{name: 1.5}]}
    bodies["indices_boost by a pattern"] = {"indices_boost": [{f"{name[:-1]}*": 1.5}]}
    return {place: msgspec.json.encode(body) for place, body in bodies.items()}
