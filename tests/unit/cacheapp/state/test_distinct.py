"""The distinct mappings of indices: each once, in order."""

import json

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.mapping.tree import MAX_NAMED_INDICES, Indices
from cacheapp.state.distinct import Distinct, distinct_mappings, grouped
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING
from tests.support.snapshots import changed

BODIES = {mapping_hash(body): body for body in (A_MAPPING, B_MAPPING, C_MAPPING)}


def snapshot(indices: dict[str, str]) -> Snapshot:
    """Of indices with the mappings of these hashes."""
    entries = {name: IndexEntry("u", hashed, 1.0, Source.MEMORY) for name, hashed in indices.items()}
    return changed(Snapshot(), entries, BODIES)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.sampled_from(sorted(BODIES)), min_size=1))
def test_each_mapping_once(indices: dict[str, str]) -> None:
    """Every index is in the one that has its mapping; they and their indices are in the order of names, whatever the
    order they are asked for in; and as JSON nothing is lost.
    """
    known = snapshot(indices)
    found = distinct_mappings(known, reversed(list(indices)))
    assert {index: one.mapping_hash for one in found for index in one.indices} == indices
    assert all(BODIES[one.mapping_hash] == one.body for one in found)
    firsts = [one.indices[0] for one in found]
    assert firsts == sorted(firsts)
    assert all(list(one.indices) == sorted(one.indices) for one in found)
    groups = json.loads(grouped(found))["groups"]
    assert {index: group["mappings"] for group in groups for index in group["indices"]} == {
        index: json.loads(BODIES[hashed]) for index, hashed in indices.items()
    }


def test_counted() -> None:
    """How many have it, and the first of them."""
    names = tuple(f"i{number:02}" for number in range(30))
    assert Distinct("h", b"{}", names).counted == Indices(30, names[:MAX_NAMED_INDICES])
