"""The pages about more than one name on a real node: search, changes, comparison, validation, description."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch
from pytest_django import Settings

from cacheapp.browse.tool_views import CHANGES_AT_ONCE
from cacheapp.models import MappingChange
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.clock import now_utc
from esassistant.config.model import Details
from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.errors import StoreUnavailable
from esassistant.registry import registry
from tests.support.fixtures import OpenApp
from tests.support.pages import BROWSER, page, with_details, words
from tests.support.running import refresh_with_history

SHOP = {
    "properties": {
        "status": {"type": "keyword"},
        "took_ms": {"type": "long", "meta": {"unit": "ms"}},
        "customer": {"properties": {"name": {"type": "text"}}},
    }
}
SCOPED = "esa_a-token-with-a-scope"
NO_REPLICAS = {"number_of_replicas": 0}


async def test_finding_names_and_fields(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The search of the header finds families by name, fields by words of their paths, and fields by what they mean."""
    for number in range(1, 13):
        cluster.indices.create(index=f"order-{number:02}", mappings=SHOP, settings=NO_REPLICAS)
    cluster.indices.create(index="people", mappings={"properties": {"status": {"type": "long"}}}, settings=NO_REPLICAS)
    async with open_app(node.url) as http:
        said = words(await page(http, "/browse/?q=order"))
        assert re.search(r"order\* indices 12 all equal the name", said)
        found = await page(http, "/browse/?q=status")
        assert re.search(r"status conflict: keyword in 12 , long in 1 13 order\* , people", words(found))
        [link, *_] = re.findall(r'href="(/browse/order\*\?field=status#field)"', html.unescape(found))
        assert "Field status" in words(await page(http, link.partition("#")[0]))
        meant = words(await page(http, "/browse/?q=duration"))
        assert "No field has this word in its path." in meant
        assert "Near by meaning Field Type Indices Families took_ms long" in meant
        assert meant.index("Near by meaning Field") < meant.index("No field has this word")
        assert "Names like it: people" in words(await page(http, "/browse/?q=peopel"))
        some = words(await page(http, "/browse/?q=status+duration"))
        assert some.index("No field has all of these words; these have some.") < some.index("Near by meaning Field")
        assert "by what they mean" in words(await page(http, "/browse/?q="))
        members = words(await page(http, "/browse/?q=order-0*"))
        assert "order-01 , order-02" in members, members


async def test_what_changed(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """By day, the latest first; what happened alike is one line, which leads to the index and to a comparison."""
    cluster.indices.create(index="log-1", mappings=SHOP, settings=NO_REPLICAS)
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}) as http:
        assert "No change was seen in the last 7 days." in words(await page(http, "/changes"))
        for number in range(2, 5):
            cluster.indices.create(index=f"log-{number}", mappings=SHOP, settings=NO_REPLICAS)
        await refresh_with_history(http)
        wider = {"properties": {**SHOP["properties"], "extra": {"type": "ip"}}}
        cluster.indices.create(index="log-5", mappings=wider, settings=NO_REPLICAS)
        cluster.indices.put_mapping(index="log-1", properties={"note": {"type": "text"}})
        await refresh_with_history(http)
        cluster.indices.delete(index="log-2")
        await refresh_with_history(http)
        source = await page(http, "/changes")
        said = words(source)
        assert f"{datetime.now(UTC):%A, %Y-%m-%d} by UTC" in said
        assert "Changes, the last 7 days 6 of 5 indices" in said
        assert re.search(r"\+4 .1 1 changed", said)
        assert re.search(r"created 3 indices of log\* each with the same mapping as the one before it", said)
        assert re.search(r"created log-5 of log\* different from log-4 \( compare .* Added: extra", said)
        assert re.search("changed log-1 of log.* Added: note", said)
        [compared] = re.findall(r'href="(/compare\?a=log-4[^"]+)"', source)
        assert "1 field more" in words(await page(http, html.unescape(compared)))
        assert "deleted log-2" in words(await page(http, "/changes?kind=deleted&pattern=log-*"))
        only = words(await page(http, "/changes?pattern=log-1&since=24h"))
        assert "changed log-1" in only
        assert "created" not in only.partition("by UTC")[2]
        assert "No such change was seen" in words(await page(http, "/changes?pattern=nothing"))
        assert "2020-01-01 until now" in words(await page(http, "/changes?since=2020-01-01"))
        listed = words(await page(http, "/browse/?group=name&sort=changes"))
        assert re.search(r"log-1 index .* 1 , the last", listed)


async def test_changes_come_in_pages(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Older changes are one link away, and so are the latest: each is on one page, and none is left out."""
    total = CHANGES_AT_ONCE + 5
    plain: dict[str, Any] = {name: [] for name in ("added", "removed", "retyped", "altered")}
    plain |= dict.fromkeys((f"{name}_total" for name in plain), 0)
    rows = [
        MappingChange(number=number, index=f"i{number}", family=f"i{number}", at=now_utc(), kind="created", **plain)
        for number in range(1, total + 1)
    ]
    async with open_app(node.url) as http:
        await MappingChange.objects.abulk_create(rows)
        source, seen = await page(http, "/changes"), list[int]()
        assert f"Changes, the last 7 days {total} of {total} indices" in words(source)
        while True:
            seen += map(int, re.findall(r'created</strong>\s+<a href="/browse/i(\d+)"', source))
            if not (following := re.findall(r'rel="next" href="([^"]+)"', source)):
                break
            source = await page(http, html.unescape(following[0]))
        assert seen == list(range(total, 0, -1))
        assert "The latest" in words(source)


async def test_changes_without_a_database(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of changes says why it can't be shown; the list of names goes on without its counts."""

    async def fail(*_: object, **__: object) -> Any:
        raise StoreUnavailable("The database is away.")

    cluster.indices.create(index="shop")
    async with open_app(node.url) as http:
        for method in ("recent", "counts_since"):
            monkeypatch.setattr(registry.get("history"), method, fail)
        assert "The database is away." in words(await page(http, "/changes", 503))
        assert words(await page(http, "/browse/")).endswith("ago unknown")


async def test_changes_within_a_scope(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings
) -> None:
    """A foreign name in the filter is a part of names, as one that isn't there: it tells nothing. Nor does the page say
    when the oldest change of all names was seen.
    """
    for name in ("orders", "orders-vault-1"):
        cluster.indices.create(index=name, settings=NO_REPLICAS)
    token = ScopedToken("some", digest_of(SCOPED.encode()), frozenset({Right.READ}), ("orders-*",))
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED, scoped_tokens=(token,))
    scoped = {**BROWSER, "Authorization": f"Bearer {SCOPED}"}
    whole = {**BROWSER, "Authorization": f"Bearer {TOKEN}"}
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}) as http:
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        await refresh_with_history(http)
        cluster.indices.create(index="orders-1", settings=NO_REPLICAS)
        await refresh_with_history(http)
        there = words(await page(http, "/changes?pattern=orders", headers=scoped))
        not_there = words(await page(http, "/changes?pattern=order", headers=scoped))
        assert "created orders-1" in there
        assert there == not_there.replace("order ", "orders ")
        assert "created orders-1" not in words(await page(http, "/changes?pattern=orders", headers=whole))
        assert "oldest change" in words(await page(http, "/changes?pattern=nothing", headers=whole))
        said = words(await page(http, "/changes?pattern=nothing", headers=scoped))
        assert "No such change was seen" in said
        assert "oldest change" not in said
        assert "not seen any change" not in said


async def test_comparing(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Two names, or two mappings: what one has that the other lacks, and what both have otherwise, with links."""
    one = {"properties": {"a": {"type": "long"}, "b": {"type": "ip"}, "d": {"type": "keyword", "ignore_above": 5}}}
    other = {"properties": {"a": {"type": "keyword"}, "c": {"type": "ip"}, "d": {"type": "keyword"}}}
    cluster.indices.create(index="one", mappings=one)
    cluster.indices.create(index="other", mappings=other)
    async with open_app(node.url) as http:
        source = await page(http, "/compare?a=one&b=other")
        said = words(source)
        assert "1 field more, 1 fewer, 1 of another type, 1 with other parameters." in said
        assert "Another type Field A B a long keyword" in said
        assert re.search("Only in B Field A B c . ip", said)
        assert re.search("Only in A Field A B b ip .", said)
        assert "d ignore_above in A , in B" in said
        assert "Their fields are the same." in words(await page(http, "/compare?a=one&b=one"))
        hashes = re.findall(r"mapping=(\w{32})", await page(http, "/browse/?group=mapping"))
        by_hash = await page(http, f"/compare?a={hashes[0]}&b={hashes[1]}")
        assert "1 field more, 1 fewer" in words(by_hash)
        assert 'href="/browse/one"' in by_hash
        assert "by the hashes" in words(await page(http, "/compare?a=one"))


WRONG = """{
  "query": {"bool": {"filter": [
    {"term": {"statuss": "open"}},
    {"range": {"took_ms": {"gte": "long"}}}
  ]}}
}"""


async def test_validating(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Findings stand at their lines and columns; a right search is said to be right; what can't be read, why."""
    cluster.indices.create(index="shop", mappings={"dynamic": "strict", **SHOP})
    async with open_app(node.url) as http:

        async def validated(search: str, name: str = "shop", status: int = 200) -> str:
            answer = await http.post("/validate", data={"name": name, "search": search}, headers=BROWSER)
            assert answer.status_code == status, answer.text
            return answer.text

        assert 'value="shop"' in await page(http, "/validate?name=shop")
        source = await validated(WRONG.replace("\n", "\r\n"))
        said = words(source)
        assert "error line 3, column 15 :" in said
        assert "Did you mean status ?" in said
        assert '<mark class="error">&quot;statuss&quot;: &quot;open&quot;</mark>' in source
        assert "line 4, column 28" in said
        assert "right Nothing is wrong with it." in words(await validated('{"query": {"term": {"status": "a"}}}'))
        assert "not read The search is no JSON" in words(await validated("{"))
        on_one_line = (
            '{"query":{"bool":{"filter":[' + ",".join(['{"term":{"status":"x"}}'] * 20) + ',{"term":{"nope":1}}]}}}'
        )
        assert re.search(r"line \d\d+, column \d", words(await validated(on_one_line)))
        assert "nowhere" in words(await validated("{}", "nowhere", 404))
        assert "Say which name" in words(await validated("{}", "", 400))


async def test_who_may_validate(node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings) -> None:
    """Who may read: anybody where details are public, else tokens and staff; a session needs its CSRF token."""
    cluster.indices.create(index="shop", mappings=SHOP)
    sent = {"name": "shop", "search": "{}"}
    async with open_app(node.url) as http:
        assert (await http.post("/validate", data=sent, headers=BROWSER)).status_code == 200
        assert "csrfmiddlewaretoken" not in await page(http, "/validate")
        with_details(settings, Details.AUTHORIZED)
        stranger = await http.post("/validate", data=sent, headers=BROWSER)
        assert (stranger.status_code, stranger.headers["location"]) == (302, "/admin/login/?next=/validate")
        staff = AsyncClient(enforce_csrf_checks=True)
        users = get_user_model().objects
        await staff.aforce_login(await users.acreate_user("ada", password="a long password", is_staff=True))
        assert (await staff.post("/validate", sent)).status_code == 403
        form = (await staff.get("/validate")).content.decode()
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert (await staff.post("/validate", {**sent, "csrfmiddlewaretoken": token})).status_code == 200


async def test_describing(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The text that programs get, for a name or the whole cluster, within the budget, to be copied."""
    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url) as http:
        source = await page(http, "/describe?name=shop&tokens=300&q=customer")
        text = (await http.get("/api/mappings/shop/describe?tokens=300&q=customer")).text
        assert html.escape(text) in source
        assert "All 3 fields, of 1 index:" in words(source), words(source)
        assert "of 300." in words(source)
        [raw] = re.findall(r'href="(/api/mappings/shop/describe\?[^"]+)"', source)
        assert (await http.get(html.unescape(raw))).text == text
        whole = words(await page(http, "/describe"))
        assert "1 of 1 family" in whole
        for illegal in ("a%2Fb", "a%2Fb%2C*", "%3Clogs-%7Bnow%2Fd%7D%3E"):
            assert (await http.get(f"/describe?name={illegal}", headers=BROWSER)).status_code == 400
        assert "shop: 3 fields" in whole


async def test_refused_forms_keep_what_was_entered(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A wrong name costs the reader nothing: the form comes back with all entries, the error and similar names."""
    cluster.indices.create(index="orders", mappings=SHOP)
    query = '{"query": {"match_all": {}}}'
    async with open_app(node.url) as http:
        compared = await page(http, "/compare?a=order&b=orders", 404)
        assert re.search(r'id="a" name="a" value="order".*id="b" name="b" value="orders"', compared, re.DOTALL)
        assert "Did you mean orders ?" in words(compared)
        described = await page(http, "/describe?name=order&q=refunds&tokens=700", 404)
        for entry in ("order", "refunds", "700"):
            assert f'value="{entry}"' in described
        assert 'value="many"' in await page(http, "/describe?name=orders&tokens=many", 400)
        for name, status in (("order", 404), ("a b", 400), ("", 400)):
            answer = await http.post("/validate", data={"name": name, "search": query}, headers=BROWSER)
            assert answer.status_code == status, answer.text
            assert (f'value="{name}"' in answer.text, html.escape(query) in answer.text) == (True, True)
        refused = await http.get("/compare?a=order&b=orders")
        assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")


async def test_parts_of_pages_are_no_logins(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings
) -> None:
    """A script that asks for a part of a page after the session has ended gets 401, not the login."""
    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url) as http:
        with_details(settings, Details.AUTHORIZED)
        for path in ("/browse/?pattern=a", "/browse/shop?under=customer"):
            refused = await http.get(path, headers={**BROWSER, "HX-Request": "true"})
            assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("path", ["/changes", "/compare?a=shop&b=shop", "/describe", "/browse/?q=a", "/validate"])
async def test_only_what_pages_take(node: Node, cluster: Elasticsearch, open_app: OpenApp, path: str) -> None:
    """Another method is refused; HEAD is answered."""
    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url) as http:
        refused: httpx.Response = await http.delete(path, headers=BROWSER)
        assert refused.status_code == 405
        assert (await http.head(path, headers=BROWSER)).status_code == 200
