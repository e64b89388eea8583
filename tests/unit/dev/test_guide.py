"""The guide that the service gives: the documents in docs/, whole, and with links that lead somewhere."""

import re

import httpx
import pytest

from dev.guide import FOLDER, PAGES, rendered, slug
from esassistant.asgi import application
from healthapp.findings import Trouble
from healthapp.verdict import NOTHING_KNOWN

HTML = {name: (FOLDER / f"{name}.html").read_text(encoding="utf-8") for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_it_is_made_of_the_documents(name: str) -> None:
    """What is shipped is what `python -m dev.guide` would write now."""
    assert HTML[name] == rendered(name)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """Each link leads to an anchor of the guide, or out of the service; nothing is loaded."""
    assert "<img" not in HTML[name]
    for href in re.findall(r'href="([^"]*)"', HTML[name]):
        if href.startswith("http"):
            continue
        page, _, anchor = href.partition("#")
        target = HTML[page or name]
        assert not anchor or f'id="{anchor}"' in target, href


def test_what_the_verdict_leads_to() -> None:
    """Each next step of a verdict is a section of it."""
    sections = {trouble.section for trouble in Trouble} | {(NOTHING_KNOWN.next_step or "").partition("#")[2]}
    assert all(f'id="{section}"' in HTML["operations"] for section in sections)


def test_cells_name_their_column() -> None:
    """Rows of tables are blocks on a small screen: each cell says what it is of, where the column has a title."""
    row = HTML["operations"].partition('id="cause-refused"')[2].partition("</tr>")[0]
    assert re.findall(r'<td data-label="([^"]*)">', row) == ["Cause", "Remedy"]
    assert not re.search(r'data-label="[^"]*`', "".join(HTML.values()))
    assert 'data-label=""' not in "".join(HTML.values())


def test_slugs() -> None:
    """Anchors are those of GitHub; of two alike the second has a number."""
    known: set[str] = set()
    titles = ("Locked out", "`MAX_X`: what it's for", "Locked out", "Locked out")
    assert [slug(title, known) for title in titles] == [
        "locked-out",
        "max_x-what-its-for",
        "locked-out-1",
        "locked-out-2",
    ]


async def test_it_is_served() -> None:
    """To anybody, in the layout, with links to its other pages; one that is not there is 404 and names them."""
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        for name in PAGES:
            page = await client.get(f"/docs/{name}")
            assert page.status_code == 200
            assert HTML[name].strip() in page.text
            assert all(f'href="/docs/{other}"' in page.text for other in PAGES)
        start = await client.get("/docs/")
        assert (start.status_code, start.headers["location"]) == (302, "/docs/operations")
        missing = await client.get("/docs/nothing")
        assert (missing.status_code, "operations" in missing.json()["detail"]) == (404, True)
