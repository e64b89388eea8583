"""What the mapping browser lists and says of names: filtered, in pages, grouped by mapping, and safe to paste."""

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.browse.about import SHOWN_GROUPS, curl, describe, raw_links
from cacheapp.browse.filters import PAGE, SHOWN_NAMES, NameFilter, NameState, Sort, Times, place_of
from cacheapp.browse.names import Row, list_groups, list_names
from cacheapp.errors import MappingNotFound
from cacheapp.mapping.fields import FieldCounts, field_count, fields
from cacheapp.shown_changes import RecentOfIndex
from cacheapp.state.expressions import Resolved
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.templatetags import wording
from esassistant.errors import BadRequest
from tests.support.fakes import A_MAPPING, B_MAPPING
from tests.support.mappings import STRANGE, body, strange_mappings
from tests.support.snapshots import changed

TIMES = Times(now=100.0, ttl=10.0, max_stale=50.0)
AT = datetime(2026, 11, 30, tzinfo=UTC)
NONE: dict[str, RecentOfIndex] = {}
choosing = partial(NameFilter, visible=ALL_VISIBLE)
"""A filter of somebody who sees everything."""
HOSTILE = ("it's", "$(touch x)", "`id`", "a;b", "a&b", "a!b", "[1-3]", "{a,b}", "~x", "ä%20", 'é"', "-x")


def snapshot(
    indices: Mapping[str, tuple[bytes, float]], aliases: Mapping[str, tuple[str, ...]] | None = None
) -> Snapshot:
    """Each index with its mapping, and when it was confirmed; `data` is a data stream."""
    entries = {name: IndexEntry(None, mapping_hash(own), at, Source.MEMORY) for name, (own, at) in indices.items()}
    bodies = {mapping_hash(own): own for own, _ in indices.values()}
    data_streams = frozenset({"data"})
    return changed(Snapshot(), entries, bodies, aliases=aliases, aliases_at=100.0, data_streams=data_streams)


def rows(known: Snapshot, wanted: NameFilter = choosing()) -> dict[str, Row]:  # noqa: B008  (frozen)
    return {row.name: row for row in list_names(known, FieldCounts(), wanted, TIMES, NONE).rows}


def test_what_a_row_says() -> None:
    """Kind, state, age, fields, how many share the mapping, and how many indices an alias has."""
    known = snapshot(
        {"a": (A_MAPPING, 95.0), "b": (A_MAPPING, 80.0), "c": (B_MAPPING, 30.0)}, {"both": ("a", "b"), "data": ("c",)}
    )
    found = rows(known)
    assert found["a"] == Row("a", "index", NameState.FRESH, 5.0, 1, mapping_hash(A_MAPPING), 1, 1)
    assert (found["b"].state, found["b"].age_seconds) == (NameState.STALE, 20.0)
    assert (found["c"].state, found["c"].others_total) == (NameState.UNREAD, 0)
    assert found["both"] == Row("both", "alias", NameState.STALE, 20.0, None, None, 0, 2)
    assert found["data"].kind == "data stream"


def test_what_is_not_in_memory() -> None:
    """An index whose mapping was evicted is unread, and so is an alias of it; its number of fields isn't known."""
    known = snapshot({"a": (A_MAPPING, 95.0), "b": (B_MAPPING, 95.0)}, {"both": ("a", "b")})
    found = rows(known.without_bodies([mapping_hash(A_MAPPING)]))
    assert {name: row.state for name, row in found.items()} == {
        "a": NameState.UNREAD,
        "b": NameState.FRESH,
        "both": NameState.UNREAD,
    }
    assert (found["a"].fields_total, found["b"].fields_total) == (None, 1)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (choosing(pattern="ORD"), ["orders-1", "orders-2"]),
        (choosing(pattern="orders-*"), ["orders-1", "orders-2"]),
        (choosing(pattern="rders-*"), []),
        (choosing(state=NameState.STALE), ["orders-2"]),
        (choosing(state=NameState.UNREAD), ["all"]),
        (choosing(mapping=mapping_hash(B_MAPPING)), ["shop"]),
        (choosing(of="all"), ["orders-1", "orders-2"]),
        (choosing(of="all", pattern="1"), ["orders-1"]),
        (choosing(of="shop"), ["shop"]),
    ],
)
def test_filters(wanted: NameFilter, names: list[str]) -> None:
    """Part of a name whatever the case, a pattern, a state, a mapping, the indices of an alias; all together.

    One of these was found gone by itself: the alias is unread until it is asked for.
    """
    known = snapshot(
        {"orders-1": (A_MAPPING, 95.0), "orders-2": (A_MAPPING, 80.0), "shop": (B_MAPPING, 95.0)},
        {"all": ("orders-1", "orders-2", "gone")},
    )
    assert list(rows(known, wanted)) == names


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (Sort.NAME, ["a", "b", "both", "c"]),
        (Sort.FIELDS, ["b", "a", "c", "both"]),
        (Sort.AGE, ["both", "c", "b", "a"]),
        (Sort.CHANGES, ["both", "c", "a", "b"]),
    ],
)
def test_orders(sort: Sort, names: list[str]) -> None:
    """By name; the most fields, the greatest age, the most changes of late first; equal ones by name."""
    two = body({"properties": {"x": {"type": "long"}, "y": {"type": "long"}}})
    known = snapshot({"a": (A_MAPPING, 99.0), "b": (two, 98.0), "c": (A_MAPPING, 90.0)}, {"both": ("a", "c")})
    changes = {"a": RecentOfIndex(1, AT), "c": RecentOfIndex(2, AT + timedelta(hours=1))}
    listed = list_names(known, FieldCounts(), choosing(sort=sort), TIMES, changes)
    assert [row.name for row in listed.rows] == names
    assert {row.name: row.changes for row in listed.rows}["both"] == RecentOfIndex(3, AT + timedelta(hours=1))


def test_what_is_closed() -> None:
    """An index says so, and an alias how many of its are."""
    known = snapshot({"a": (A_MAPPING, 95.0), "b": (A_MAPPING, 95.0)}, {"both": ("a", "b")})
    known = changed(known, {}, {}, closed=frozenset({"b"}))
    assert {name: row.closed_total for name, row in rows(known).items()} == {"a": 0, "b": 1, "both": 1}
    assert describe(known, FieldCounts(), "both", ("a", "b"), ALL_VISIBLE).closed_members == ("b",)
    assert describe(known, FieldCounts(), "b", ("b",), ALL_VISIBLE).is_closed


@pytest.mark.parametrize(
    ("name", "family"), [("log-1", "log*"), ("lone-1", ""), ("people", ""), ("order-1", ""), ("secret-1", "")]
)
def test_the_family_of_an_index(name: str, family: str) -> None:
    """Of names that differ by a trailing number; none without another visible member, nor for members of an alias."""
    names = ("log-1", "log-2", "lone-1", "lone-some-1", "people", "order-1", "order-2", "secret-1", "secret-2")
    known = snapshot(dict.fromkeys(names, (A_MAPPING, 95.0)), {"orders": ("order-1", "order-2")})
    some = Visible(("l*", "people", "order*", "secret-1"))
    assert describe(known, FieldCounts(), name, (name,), some).family == family


@pytest.mark.parametrize(("names", "shown"), [(("log-1", "log-2"), ()), (("logs", "log-2"), ("logs", "log-2"))])
def test_names_of_a_list(names: tuple[str, ...], shown: tuple[str, ...]) -> None:
    """They are told only where they aren't just the indices, which are listed with their mappings anyway."""
    indices = ("log-1", "log-2")
    known = snapshot(dict.fromkeys(indices, (A_MAPPING, 95.0)), {"logs": ("log-1",)})
    resolved = Resolved(names, frozenset(names), indices)
    about = describe(known, FieldCounts(), ",".join(names), indices, ALL_VISIBLE, resolved)
    assert (about.names, about.names_total) == (shown, len(shown))


def test_what_is_visible() -> None:
    """Names out of a scope are in no list, count and link; a visible alias shows what it stands for."""
    known = snapshot(
        {"logs-1": (A_MAPPING, 95.0), "vault": (A_MAPPING, 95.0), "shared": (B_MAPPING, 95.0)},
        {"logs-all": ("logs-1", "shared"), "vaults": ("vault", "logs-1")},
    )
    scope = Visible(("logs-*",))
    found = rows(known, NameFilter(visible=scope))
    assert {name: row.others_total for name, row in found.items()} == {"logs-1": 0, "logs-all": 0}
    assert list(rows(known, NameFilter(of="logs-all", visible=scope))) == ["logs-1", "shared"]
    for name in ("vaults", "logs-nothing"):
        with pytest.raises(MappingNotFound):
            rows(known, NameFilter(of=name, visible=scope))
    groups = list_groups(known, FieldCounts(), NameFilter(visible=scope), TIMES)
    assert [group.names for group in groups.rows] == [("logs-1",)]
    about = describe(known, FieldCounts(), "logs-1", ("logs-1",), scope)
    assert (about.others_total, about.reached_by) == (0, ("logs-all",))


def test_pages_of_names() -> None:
    """All pages together are all names, each once and in order; every page says where it is."""
    names = [f"i{number:03}" for number in range(2 * PAGE + 1)]
    known = snapshot(dict.fromkeys(names, (A_MAPPING, 95.0)), {"alias": ("i000",)})
    seen: list[str] = []
    cursor = ""
    while True:
        page = list_names(known, FieldCounts(), choosing(start=place_of(cursor)), TIMES, NONE)
        assert (page.total, page.kinds) == (len(names) + 1, (("index", len(names)), ("alias", 1)))
        assert (page.first, page.last) == (len(seen) + 1, len(seen) + len(page.rows))
        seen += [row.name for row in page.rows]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == sorted([*names, "alias"])


def test_groups_are_bounded() -> None:
    """The mapping of the most indices comes first; a group names a few of them, and says how many there are."""
    many = {f"i{number:03}": (A_MAPPING, 95.0) for number in range(1000)}
    known = snapshot({"one": (B_MAPPING, 95.0), **many}, {"all": ("one",)})
    groups = list_groups(known, FieldCounts(), choosing(), TIMES)
    assert [(group.names[0], len(group.names), group.total) for group in groups.rows] == [
        ("i000", SHOWN_NAMES, 1000),
        ("one", 1, 1),
    ]
    assert (groups.total, groups.indices_total, groups.next_cursor) == (2, 1001, "")


def test_pages_of_groups() -> None:
    """Distinct mappings come in pages; a cursor that isn't a number is refused."""
    bodies = [body({"properties": {f"f{number}": {"type": "long"}}}) for number in range(PAGE + 1)]
    known = snapshot({f"i{number:03}": (own, 95.0) for number, own in enumerate(bodies)})
    first = list_groups(known, FieldCounts(), choosing(), TIMES)
    rest = list_groups(known, FieldCounts(), choosing(start=place_of(first.next_cursor)), TIMES)
    assert (len(first.rows), [group.names for group in rest.rows]) == (PAGE, [("i100",)])
    assert (rest.first, rest.last, rest.next_cursor) == (PAGE + 1, PAGE + 1, "")
    for cursor in ("x", "-1", "9" * 5000, "²"):
        with pytest.raises(BadRequest, match="cursor"):
            NameFilter.parse({"cursor": cursor}, ALL_VISIBLE)


def test_what_an_address_asks_for() -> None:
    """The query says which names; what it says can be put into an address again; nonsense is refused."""
    query = {"pattern": " a* ", "state": "stale", "mapping": "h", "of": "x", "cursor": "7", "sort": "age", "other": "y"}
    wanted = NameFilter.parse(query, ALL_VISIBLE)
    assert wanted == choosing("a*", NameState.STALE, "h", "x", Sort.AGE, 7)
    assert wanted.narrows
    assert NameFilter.parse(wanted.filters, ALL_VISIBLE) == choosing("a*", NameState.STALE, "h", "x")
    assert not NameFilter.parse({}, ALL_VISIBLE).narrows
    for refused in ({"state": "new"}, {"pattern": "a" * 256}, {"sort": "size"}):
        with pytest.raises(BadRequest):
            NameFilter.parse(refused, ALL_VISIBLE)


def test_about_an_index() -> None:
    """The others with its mapping, a few named and all counted, and the aliases that lead to it."""
    names = {f"i{number:03}": (A_MAPPING, 95.0) for number in range(100)}
    known = snapshot({"x": (B_MAPPING, 95.0), **names}, {"all": tuple(names), "none": ("x",)})
    found = describe(known, FieldCounts(), "i000", ("i000",), ALL_VISIBLE)
    assert (found.kind, found.others_total, found.others[0], len(found.others)) == ("index", 99, "i001", SHOWN_NAMES)
    assert (found.reached_by, found.reached_by_total) == (("all",), 1)


def test_about_an_alias() -> None:
    """The distinct mappings of its indices, a bounded number of them; what is gone by now is left out."""
    bodies = [body({"properties": {f"f{number}": {"type": "long"}}}) for number in range(SHOWN_GROUPS + 5)]
    known = snapshot({f"i{number:03}": (own, 95.0) for number, own in enumerate(bodies)})
    found = describe(known, FieldCounts(), "all", (*known.indices, "gone"), ALL_VISIBLE)
    assert (found.kind, found.indices_total) == ("alias", SHOWN_GROUPS + 6)
    assert (len(found.groups), found.groups_total) == (SHOWN_GROUPS, SHOWN_GROUPS + 5)
    assert describe(Snapshot(), FieldCounts(), "gone", ("gone",), ALL_VISIBLE).others_total == 0


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("public", [True, False])
def test_a_shell_takes_the_command_as_it_is_meant(name: str, public: bool) -> None:
    """Whatever the name, pasted into a shell `curl` gets the address, and the token of the environment where it needs
    it.
    """
    for raw in raw_links(name, name, lambda path: f"http://[::1]:8000{path}", public=public):
        script = f"curl() {{ printf '%s\\n' \"$@\"; }}; TOKEN=t; {raw.command}"
        got = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
        assert got == [*([] if public else ["-H", "Authorization: Bearer t"]), f"http://[::1]:8000{raw.url}"]
        assert not set(raw.url) & set(' []{}"<>`')  # which curl would take for a pattern, or refuse


def test_a_plain_command_stays_plain() -> None:
    """Nothing is quoted that needn't be."""
    assert curl("http://a/api/mappings/orders", public=True) == "curl http://a/api/mappings/orders"


@given(st.lists(strange_mappings.map(body) | st.sampled_from(STRANGE), min_size=1, max_size=3))
def test_counting_fields(mappings: list[bytes]) -> None:
    """A count is that of the list of fields, whatever the mapping."""
    for one in mappings:
        assert field_count(one) == len(fields({"i": one}))


def test_counts_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping is counted once, as long as it is one of those asked for last."""
    counted: list[bytes] = []

    def count(body: bytes) -> int:
        counted.append(body)
        return 7

    monkeypatch.setattr("cacheapp.mapping.fields.field_count", count)
    counts = FieldCounts(kept=2)
    assert [counts.count(mapping_hash, mapping_hash.encode()) for mapping_hash in ("a", "b", "a", "c", "a", "b")] == [
        7
    ] * 6
    assert counted == [b"a", b"b", b"c", b"b"]


def test_numbers_in_words() -> None:
    """Thousands are set apart, one is singular, and what isn't known is said to be so."""
    assert [wording.number(value) for value in (None, 0, 12345)] == ["unknown", "0", "12,345"]
    assert [wording.counted(value, "data_stream data_streams") for value in (1, 1000)] == [
        "1 data stream",
        "1,000 data streams",
    ]
    assert (wording.beyond(12, 10), wording.beyond(3, 10), wording.beyond(12, ("a", "b"))) == (2, 0, 10)


@pytest.mark.parametrize("template", ["cacheapp/_history.html", "cacheapp/history_panel.html"])
@pytest.mark.parametrize(
    ("kind", "compared", "says_so"),
    [
        ("changed", False, True),
        ("recreated", False, True),
        ("created", False, False),
        ("deleted", False, False),
        ("changed", True, False),
        ("recreated", True, False),
    ],
)
def test_what_could_not_be_compared_says_so(template: str, kind: str, compared: bool, says_so: bool) -> None:
    """A change without differences is not one of which they aren't known."""
    change = {"index": "a", "kind": kind, "compared": compared, "at": None}
    page = render_to_string(
        template, {"changes": [change], "changes_total": 1, "name": "a", "passes": [], "history": {}}
    )
    assert ("not known" in page) == says_so
