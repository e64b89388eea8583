"""In which order mappings are read by a process that knows nothing."""

from cacheapp.demand.first_reads import first_indices
from cacheapp.state.readings import Listing

LISTING = Listing(
    "uuid",
    dict.fromkeys(("logs-2026.11.01", "logs-2026.11.02", "orders-1", "orders-2", "plain"), "u"),
    {"orders": ("orders-1", "orders-2", "gone"), "all": ("orders-1", "plain")},
    frozenset(),
)


def test_names_stand_for_indices() -> None:
    """In the order of the names, each index once, of many the newest first; names that aren't there are nothing."""
    assert first_indices(["absent", "logs*", "plain", "all"], LISTING) == [
        *("logs-2026.11.02", "logs-2026.11.01", "plain", "orders-1")
    ]
    assert first_indices(["orders", "nothing*"], LISTING) == ["orders-2", "orders-1"]
    assert first_indices([], LISTING) == []


def test_not_more_than_so_many() -> None:
    """However many the names stand for."""
    assert first_indices(["orders", "plain"], LISTING, most=1) == ["orders-2"]
    assert first_indices(["plain", "orders"], LISTING, most=2) == ["plain", "orders-2"]
