"""The mapping browser on a real node: what its pages say, to whom, and what they say when something is wrong."""

import html
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch
from pytest_django import Settings

from cacheapp.browse.fields import SHOWN_FIELDS
from cacheapp.browse.filters import PAGE
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.asgi import new_application
from esassistant.config.model import Details
from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.errors import StoreUnavailable
from esassistant.registry import registry
from tests.support.fixtures import OpenApp
from tests.support.pages import BROWSER, page, with_details, words
from tests.support.running import refresh_with_history

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SCOPED = "esa_a-token-with-a-scope"
NOBODY_LISTENS = "http://127.0.0.1:9"
SHOP = {
    "properties": {
        "sku": {"type": "keyword"},
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "stock": {"properties": {"place": {"type": "geo_point"}, "count": {"type": "long"}}},
    },
    "runtime": {"day": {"type": "date"}},
}


async def test_the_list(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Every name with kind, state in words, age, fields, and who else has its mapping; filtered as the form asks."""
    for index in ("shop-1", "shop-2"):
        cluster.indices.create(index=index, mappings=SHOP, aliases={"shops": {}})
    cluster.indices.create(index="other")
    async with open_app(node.url) as http:
        everything = words(await page(http, "/browse/?group=name"))
        assert "4 names: 3 indices, 1 alias." in everything
        assert re.search(r"shop-1 index fresh [\d.]+ m?s ago 7 as 1 other .", everything)
        assert "shops alias of 2 indices" in everything
        assert "2 names: 2 indices." in words(await page(http, "/browse/?group=name&pattern=SHOP-&state=fresh"))
        assert "Nothing matches" in words(await page(http, "/browse/?pattern=shop&state=stale"))
        assert "Did you mean shops" in words(await page(http, "/browse/?pattern=shpos"))
        source = await page(http, "/browse/?group=name&pattern=shop-1")
        same = re.findall(r'href="(/browse/\?mapping=\w+)"', source)
        assert 'value="shop-1"' in source
        assert "2 names: 2 indices." in words(await page(http, same[0]))
        assert "Indices of shops" in words(await page(http, "/browse/?of=shops"))


async def test_families(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Without a filter families are listed: equal members are one row, those that differ are named, closed ones
    counted.
    """
    for number in range(1, 13):
        cluster.indices.create(index=f"log-{number:02}", mappings=SHOP, settings={"number_of_replicas": 0})
    cluster.indices.put_mapping(index="log-07", properties={"odd": {"type": "ip"}})
    cluster.indices.close(index="log-12")
    cluster.indices.create(index="other")
    async with open_app(node.url) as http:
        source = await page(http, "/browse/")
        assert "2 families of 13 indices." in words(source)
        assert re.search(r"log\* indices 12 1 closed 2 different : log-07 differs 8 fresh", words(source))
        [compared] = re.findall(r'href="(/compare\?[^"]+)"', source)
        assert "1 field more, 0 fewer" in words(await page(http, html.unescape(compared)))
        part = await http.get("/browse/?pattern=oth", headers={"HX-Request": "true"})
        assert part.text.startswith('<p id="found"')
        assert "1 family of 1 index." in " ".join(part.text.split())


async def test_pages_of_the_list(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Links lead through the list, and keep the filter."""
    aliases: dict[str, Any] = {f"a{number:03}": {} for number in range(PAGE)}
    cluster.indices.create(index="a", settings={"number_of_replicas": 0}, aliases=aliases)
    cluster.indices.create(index="b", settings={"number_of_replicas": 0})
    async with open_app(node.url) as http:
        first = await page(http, "/browse/?pattern=a&group=name")
        assert "101 names: 1 index, 100 aliases; 1 to 100 shown." in words(first)
        [following] = re.findall(r'rel="next" href="([^"]+)"', first)
        second = await page(http, html.unescape(following))
        assert "101 names: 1 index, 100 aliases; 101 to 101 shown." in words(second)
        [back] = re.findall(r'href="([^"]+)">First page', second)
        assert words(await page(http, html.unescape(back))) == words(first) or "1 to 100 shown" in words(first)
        assert 'rel="next"' not in second
        assert "The list became shorter." in words(await page(http, "/browse/?cursor=900"))


async def test_the_list_by_mapping(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Distinct mappings with the indices that share each; a few are named, the rest counted and one link away."""
    for number in range(12):
        cluster.indices.create(index=f"log-{number:02}", mappings=SHOP, settings={"number_of_replicas": 0})
    cluster.indices.create(index="other")
    async with open_app(node.url) as http:
        source = await page(http, "/browse/?group=mapping")
        assert "2 distinct mappings of 13 indices." in words(source)
        assert re.search(r"12 7 log-00 , .* log-09 and 2 more", words(source))
        [more] = re.findall(r'class="more" href="([^"]+)"', source)
        assert "12 names: 12 indices." in words(await page(http, more))


async def test_an_index(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """What it is, who has the same mapping, its fields with types and marks, raw links, and commands to copy."""
    cluster.indices.create(index="shop-1", mappings=SHOP, aliases={"shops": {}})
    cluster.indices.create(index="shop-2", mappings=SHOP)
    async with open_app(node.url) as http:
        source = await page(http, "/browse/shop-1")
        said = words(source)
        raw = re.findall(r'<h3><a href="([^"]+)"', source)
        assert [(await http.get(html.unescape(link))).status_code for link in raw] == [200] * 4
    assert re.search("shop-1 index Confirmed by the cluster [\\d.]+ m?s ago fresh", said)
    assert "One other index has exactly this mapping: shop-2" in said
    assert "One name leads to it: shops" in said
    assert "7 fields, objects and multi-fields included." in said
    assert "stock object 2 fields About stock count long All about stock.count place geo_point" in said
    assert "title text 1 field · not aggregatable About title raw keyword multi-field" in said
    assert "day date runtime" in said
    assert "<details open>" in source
    assert '<code id="raw-schema">curl http://testserver/api/mappings/shop-1/schema</code>' in source
    assert 'hidden data-copies="raw-schema"' in source


async def test_an_alias_with_conflicts(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Its indices by mapping, and which field has which type where."""
    cluster.indices.create(index="m-1", mappings={"properties": {"v": {"type": "long"}}}, aliases={"m": {}})
    cluster.indices.create(index="m-2", mappings={"properties": {"v": {"type": "double"}}}, aliases={"m": {}})
    async with open_app(node.url) as http:
        said = words(await page(http, "/browse/m"))
    assert "m is an alias of 2 indices with 2 distinct mappings." in said
    assert "v conflict: double long" in said
    assert "1 field is not the same in all indices" in said
    assert "v type double m-2 v type long m-1" in said
    assert "1 of 2 indices has another mapping than most: m-1 ( compare m-1 with most of them )" in said


async def test_searching_fields(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Paths and types are found, with the whole path; what isn't found is said; the command for it has the search."""
    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url) as http:
        found = await page(http, "/browse/shop?q=RAW")
        assert "1 of 7 fields, the best matches first. title.raw keyword multi-field" in words(
            found.replace("<mark>", "").replace("</mark>", "")
        )
        part = await http.get("/browse/shop?q=RAW", headers={"HX-Request": "true", "HX-Target": "fields-listed"})
        assert part.text.startswith('<p id="fields-found"')
        assert "title.<mark>raw</mark>" in part.text
        assert "title.<mark>raw</mark>" in found
        assert "curl &#x27;http://testserver/api/mappings/shop/fields?q=RAW&#x27;" in found
        assert "stock.place geo_point" in words(await page(http, "/browse/shop?q=geo_"))
        assert "2 of 7 fields." in words(await page(http, "/browse/shop?type=keyword"))
        nothing = words(await page(http, "/browse/shop?q=nowhere&type=keyword"))
        assert "None of 7 fields has “nowhere” in its path or type and the type keyword." in nothing
        assert "at most 200" in await page(http, f"/browse/shop?q={'a' * 201}", 400)


async def test_many_fields(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """All fields can be reached: so many rows at once, and links to what comes after them and to what is below each."""
    inner = {f"field_{number:03}": {"type": "long"} for number in range(600)}
    cluster.indices.create(index="wide", mappings={"properties": inner})
    cluster.indices.create(index="deep", mappings={"properties": {"box": {"properties": inner}}})
    async with open_app(node.url) as http:
        source, seen = await page(http, "/browse/wide"), set[str]()
        assert "600 fields, objects and multi-fields included." in words(source)
        while True:
            seen |= set(re.findall(r'<code class="path">(field_\d+)</code>', source))
            if not (more := re.findall(r'<a href="([^"]+)" hx-get="[^"]+" hx-target="closest li"', source)):
                break
            source = await page(http, html.unescape(more[0]).partition("#")[0])
        assert (len(seen), SHOWN_FIELDS < 600) == (600, True)
        deep = await page(http, "/browse/deep")
        assert '<a href="/browse/deep?under=box#fields">600 fields below box</a>' in deep
        below = await page(http, "/browse/deep?under=box")
        assert "600 fields below box . All 601 fields" in words(below)
        part = (await http.get("/browse/deep?under=box", headers={"HX-Request": "true"})).text
        assert part.startswith('<li class="leaf own">')
        assert part.count('class="path"') == SHOWN_FIELDS
        searched = await page(http, "/browse/deep?q=box.")
        assert f"600 of 601 fields, the best matches first; 1 to {SHOWN_FIELDS} shown." in words(searched)
        [following] = re.findall(r'href="(/browse/deep\?[^"]*cursor=[^"]+)"', searched)
        assert f"{SHOWN_FIELDS + 1} to 600 shown." in words(
            await page(http, html.unescape(following).partition("#")[0])
        )


async def test_one_field(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A field has an address of its own: what it is where, what belongs to it, and links to it; one that isn't there
    has none.
    """
    cluster.indices.create(index="shop-1", mappings=SHOP, aliases={"shops": {}})
    other = {"properties": {"title": {"type": "text", "analyzer": "simple", "meta": {"by": "us"}}}}
    cluster.indices.create(index="shop-2", mappings=other, aliases={"shops": {}})
    async with open_app(node.url) as http:
        source = await page(http, "/browse/shops?field=title")
        said = words(source)
        assert "Field title" in said
        assert "Multi-fields: title.raw keyword." in said
        assert "text none 1 index : shop-1" in said.replace(": shop", " : shop").replace("  ", " ")
        assert 'analyzer: simple , meta: {"by":"us"}' in said
        assert "http://testserver/browse/shops?field=title#field" in said
        part = (await http.get("/browse/shops?field=sku", headers={"HX-Request": "true"})).text
        assert part.strip().startswith('<div class="about-field">')
        assert "not there" in part
        missing = await page(http, "/browse/shops?field=nowhere", 404)
        assert "No such field shops has no field 'nowhere'." in words(missing)
        assert 'href="/browse/shops#fields"' in missing
        assert 'href="/browse/?q=nowhere"' in missing


async def test_history(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Fields that came and got another type, when, and who saw it; of an index that is gone too."""
    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}) as http:
        assert "has not seen any change of it yet" in words(await page(http, "/browse/shop"))
        properties = {f"new_{number:02}": {"type": "ip"} for number in range(12)}
        cluster.indices.put_mapping(index="shop", properties=properties, runtime={"day": {"type": "keyword"}})
        await refresh_with_history(http)
        said = words(await page(http, "/browse/shop"))
        assert re.search(r"\d\d:\d\d:\d\d UTC changed seen by \S+ Added: new_00 , .* new_09 and 2 more", said)
        assert re.search(
            r"19 \S 1 , the last (.* ago|just now)", words(await page(http, "/browse/?group=name&pattern=shop"))
        )
        assert "Another type: day from date to keyword" in said
        cluster.indices.delete(index="shop")
        await refresh_with_history(http)
        gone = words(await page(http, "/browse/shop", 404))
        assert "No such index" in gone
        assert re.search(r"UTC deleted .* UTC changed", gone)


async def test_history_without_a_database(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page goes without its history while the database is away."""

    async def fail(*_: object) -> Any:
        raise StoreUnavailable("The database is away.")

    cluster.indices.create(index="shop", mappings=SHOP)
    async with open_app(node.url) as http:
        monkeypatch.setattr(registry.get("history"), "latest_changes", fail)
        assert "The history can't be read at the moment" in words(await page(http, "/browse/shop"))


async def test_hostile_names(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Names of indices and fields are text, whatever is in them: in pages, in links, in commands."""
    index = "it's-$(id)-{1;2}&[x]"
    field = "<script>alert(1)</script>"
    cluster.indices.create(index=index, mappings={"properties": {field: {"type": "keyword"}}})
    async with open_app(node.url) as http:
        listed = await page(http, "/browse/")
        [link] = re.findall(r'<th scope="row"><a href="([^"]+)"', listed)
        opened = await page(http, html.unescape(link) + "?field=%3Cscript%3Ealert(1)%3C/script%3E")
        source = await page(http, html.unescape(link))
        searched = await page(http, html.unescape(link) + "?q=%3Cscript%3E")
        reflected = await page(http, "/browse/?pattern=%22%3E%3Cimg+src%3Dx%3E&of=%22%3E%3Cu%3E&mapping=%3Cu%3E", 404)
    assert index in words(source)
    assert field in words(source)
    assert "<script>alert" not in source + searched + opened
    assert "<img src=x" not in reflected
    assert "<u>" not in reflected
    command = "curl 'http://testserver/api/mappings/it'\"'\"'s-$(id)-%7B1;2%7D&%5Bx%5D'"
    assert f'<code id="raw-mapping">{html.escape(command, quote=True)}</code>' in source


async def test_the_commands_of_others(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings
) -> None:
    """Where details are not public a token is needed: it comes from the environment, not from the page."""
    cluster.indices.create(index="shop")
    with_details(settings, Details.AUTHORIZED)
    async with open_app(node.url) as http:
        source = await page(http, "/browse/shop", headers={**BROWSER, **BEARER})
    command = 'curl -H "Authorization: Bearer $TOKEN" http://testserver/api/mappings/shop'
    assert f'<code id="raw-mapping">{html.escape(command)}</code>' in source
    assert TOKEN not in source


async def test_who_may_see_it(node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings) -> None:
    """Staff and tokens; others are sent to the login, and come back to where they wanted to go."""
    cluster.indices.create(index="shop")
    with_details(settings, Details.AUTHORIZED)
    users = get_user_model().objects
    staff, somebody = AsyncClient(), AsyncClient()
    await staff.aforce_login(await users.acreate_user("ada", password="a long password", is_staff=True))
    await somebody.aforce_login(await users.acreate_user("bob", password="a long password"))
    async with open_app(node.url) as http:
        for path in ("/browse/?pattern=a&state=fresh", "/browse/shop?q=x", "/browse/nowhere"):
            sent = await http.get(path, headers=BROWSER)
            assert sent.status_code == 302
            assert sent.headers["location"] == f"/admin/login/?{httpx.QueryParams({'next': path})}".replace("%2F", "/")
            assert sent.headers["cache-control"] == "no-store"
            assert (await somebody.get(path)).status_code == 302
        assert (await staff.get("/browse/shop")).status_code == 200
        wrong = await http.get("/browse/shop", headers={**BROWSER, "Authorization": "Bearer wrong"})
        assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        with_details(settings, Details.ALWAYS)
        assert (await http.get("/browse/shop", headers=BROWSER)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/browse/nowhere", 404, "No such index There is no index, alias or data stream named 'nowhere'."),
        ("/browse/UPPER", 400, "Illegal name"),
        ("/browse/nothing-*", 404, "No index, alias or data stream matches 'nothing-*'"),
        ("/browse/a/b", 400, "Illegal name"),
        ("/browse/%3Cb%3E", 400, "Illegal name"),
        ("/browse/?state=new", 400, "Bad request Use state=fresh, state=stale, state=unread"),
        ("/browse/?group=new", 400, "Use group=family, group=name, group=mapping"),
        ("/browse/?group=mapping&cursor=x", 400, "This cursor is not one of ours"),
        ("/browse/?of=nowhere", 404, "No such index"),
        ("/changes?since=never", 400, "Use since= with 24h"),
        ("/changes?kind=odd", 400, "Use kind=created"),
        ("/changes?pattern=-x,y", 400, "Illegal name"),
        ("/changes?before=x", 400, "This cursor is not one of ours"),
        ("/compare?a=nowhere&b=nothing", 404, "There is no index, alias or data stream named 'nowhere'."),
        ("/describe?name=nowhere", 404, "There is no index, alias or data stream named 'nowhere'."),
        ("/describe?tokens=1", 400, "Use tokens= with a whole number from 50"),
        (f"/describe?q={'a' * 1001}", 400, "A question has at most 1000 characters"),
        (f"/browse/?q={'a' * 201}", 400, "A search has at most 200 characters"),
    ],
)
async def test_what_cannot_be_shown(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, path: str, status: int, said: str
) -> None:
    """A page says what is wrong, with the status; a program gets a problem instead."""
    async with open_app(node.url) as http:
        assert said in words(await page(http, path, status))
        problem = await http.get(path)
        assert (problem.status_code, problem.headers["content-type"]) == (status, "application/problem+json")


async def test_only_reading(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Pages are read: another method is refused, and HEAD is answered."""
    async with open_app(node.url) as http:
        refused = await http.options("/browse/", headers=BROWSER)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        assert (await http.head("/browse/", headers=BROWSER)).status_code == 200


async def test_an_empty_cluster(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Says that there is nothing, why that may be, and what to do."""
    async with open_app(node.url) as http:
        assert "There are no indices" in words(await page(http, "/browse/"))
        assert "As soon as there is one it appears here by itself" in words(await page(http, "/browse/"))
        assert "load_samples" not in await page(http, "/browse/")
        assert "0 distinct mappings of 0 indices." in words(await page(http, "/browse/?group=mapping"))


async def test_nothing_is_selected(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An empty list may be the settings' doing: then it shows them."""
    cluster.indices.create(index="shop")
    async with open_app(node.url, cache={"include": ("a-*",), "exclude": ("b",)}) as http:
        said = words(await page(http, "/browse/"))
        assert "MAPPING_CACHE_INCLUDE=a-* , MAPPING_CACHE_EXCLUDE=b" in said


async def test_settings_are_not_for_a_scope(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings
) -> None:
    """Who doesn't see all names isn't told which the settings select."""
    scoped_token = ScopedToken("some", digest_of(SCOPED.encode()), frozenset({Right.READ}), ("x-*",))
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED, scoped_tokens=(scoped_token,))
    async with open_app(node.url, cache={"include": ("a-*",), "exclude": ("b",)}) as http:
        scoped = words(await page(http, "/browse/", headers={**BROWSER, "Authorization": f"Bearer {SCOPED}"}))
        whole = words(await page(http, "/browse/", headers={**BROWSER, **BEARER}))
    assert "has no index that you may see." in scoped
    assert "MAPPING_CACHE" not in scoped
    assert "MAPPING_CACHE_INCLUDE=a-*" in whole


async def test_one_is_not_equal_to_all(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Of several indices a page says that their mappings are equal; of one there is nothing to say."""
    for name in ("log-1", "log-2"):
        cluster.indices.create(index=name, mappings=SHOP)
    cluster.indices.create(index="shop", mappings=SHOP, aliases={"store": {}})
    async with open_app(node.url) as http:
        assert "Indices 2 all equal" in words(await page(http, "/browse/log-*"))
        said = words(await page(http, "/browse/store"))
    assert "Indices 1 " in said
    assert "all equal" not in said


async def test_an_empty_mapping(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An index without fields has a page that says so, and nothing to search."""
    cluster.indices.create(index="bare")
    async with open_app(node.url) as http:
        source = await page(http, "/browse/bare")
    assert "This mapping has no fields" in words(source)
    assert 'id="q"' not in source


async def test_without_a_cluster(open_app: OpenApp) -> None:
    """Before the first pass, and when a mapping can't be read: 503, when to try again, and a link to do so."""
    async with open_app(NOBODY_LISTENS, max_retries=0) as http:
        for path, title in (("/browse/", "No mappings yet"), ("/browse/shop?q=a", "Elasticsearch unavailable")):
            source = await page(http, path, 503)
            assert title in words(source)
            assert f'href="{path}">Try again</a>' in source
            assert int((await http.get(path, headers=BROWSER)).headers["retry-after"]) >= 1


async def test_nothing_is_open() -> None:
    """Without an open registry a page says what to do, instead of failing."""
    transport = httpx.ASGITransport(app=new_application())
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        for path in ("/browse/", "/browse/shop", "/changes", "/describe"):
            assert "The resources of this process are not" in words(await page(http, path, 503))
