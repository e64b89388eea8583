"""`python -m dev.guide`: write the pages of the guide to esassistant/guide/ from docs/, for people who have only the
running service.

A test compares them with what this would write.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "esassistant" / "guide"
PAGES = ("operations", "settings", "security", "api")
LINK = re.compile(r"(?:(?P<page>[a-z]+)\.md)?(?P<anchor>#.*)?")
SCROLLED = '<div class="scrolled" tabindex="0" role="region" aria-label="Table">\n'
NO_WORD = re.compile(r"[^\w\- ]")


def slug(title: str, known: set[str]) -> str:
    """Return the anchor of a heading as GitHub makes it, because links in docs/ use these."""
    base = found = NO_WORD.sub("", title.lower()).replace(" ", "-")
    count = 0
    while found in known:
        count += 1
        found = f"{base}-{count}"
    known.add(found)
    return found


def rendered(name: str) -> str:
    """Return a document of docs/ as HTML, without the page around it."""
    # The only HTML in docs/ are anchors, and nobody else writes there.
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = markdown.parse((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    _label_cells(tokens)
    known: set[str] = set()
    chapters: list[tuple[str, str]] = []
    for token, inline in zip(tokens, [*tokens[1:], Token("inline", "", 0)], strict=True):
        if token.type == "heading_open":
            title = "".join(child.content for child in inline.children or ())
            token.attrSet("id", slug(title, known))
            if token.tag == "h2":
                chapters.append((str(token.attrs["id"]), title))
        if token.children:
            token.children = _reachable(token.children)
    html = str(markdown.renderer.render(tokens, markdown.options, {})).replace("<p></p>\n", "")
    html = html.replace("</h1>", f"</h1>\n{_contents(chapters)}", 1)
    return html.replace("<table", f"{SCROLLED}<table").replace("</table>", "</table>\n</div>")


def _label_cells(tokens: Iterable[Token]) -> None:
    """Give each cell of a table the name of its column. On a small screen, where rows are blocks, the name stands
    beside the cell.
    """
    titles: list[str] = []
    row: Iterator[str] = iter(())
    for token, inline in pairwise(tokens):
        if token.type == "table_open":
            token.attrSet("class", "table stacked")
            titles = []
        elif token.type == "th_open":
            titles.append(inline.content.replace("`", ""))
        elif token.type == "tr_open":
            row = iter(titles)
        elif token.type == "td_open" and (title := next(row, "")):
            token.attrSet("data-label", title)


def _contents(chapters: Iterable[tuple[str, str]]) -> str:
    links = "\n".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in chapters)
    return f'<nav class="onpage" aria-label="On this page">\n{links}\n</nav>'


def _reachable(children: Sequence[Token]) -> list[Token]:
    """Return the content with links that work in the guide: links to its pages lead from page to page, other links
    become plain text, and pictures are left out.
    """
    found: list[Token] = []
    opened: list[bool] = []
    for child in children:
        if child.type == "image":
            continue
        if child.type == "link_open":
            opened.append(_leads_on(child))
        is_dropped = child.type in ("link_open", "link_close") and not opened[-1]
        if child.type == "link_close":
            opened.pop()
        if not is_dropped:
            found.append(child)
    return found


def _leads_on(link: Token) -> bool:
    href = str(link.attrs["href"])
    if href.startswith("http"):
        return True
    match = LINK.fullmatch(href)
    if match is None or match["page"] not in (None, *PAGES):
        return False
    link.attrSet("href", f"{match['page'] or ''}{match['anchor'] or ''}")
    return True


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        path = FOLDER / f"{page}.html"
        path.write_text(rendered(page), encoding="utf-8")
        print(f"wrote {path}")
