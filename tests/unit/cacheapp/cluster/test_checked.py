"""What is taken over from answers of the cluster."""

import json

import pytest

from cacheapp.cluster.checked import MAX_MEMBERS, MappingCheck


def test_a_mapping_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found readable isn't decoded again, what wasn't is; only so many are remembered."""
    decoded: list[str] = []
    loads = json.loads

    def spy(text: str, **hooks: object) -> object:
        decoded.append(text)
        return loads(text, **hooks)  # type: ignore[arg-type]

    monkeypatch.setattr(json, "loads", spy)
    check, twice = MappingCheck(remembered=2), b'{"a":1,"a":2}'
    assert [check.is_readable(mapping) for mapping in (b"{}", b"{}", twice, twice)] == [True, True, False, False]
    assert decoded == ["{}", twice.decode(), twice.decode()]
    assert all(map(check.is_readable, (b'{"b":1}', b'{"c":1}', b"{}")))
    assert len(decoded) == 6


@pytest.mark.parametrize("separator", [b":", b" : "])
def test_too_many_members(separator: bytes) -> None:
    """A mapping of far too many fields is none, however small they are."""
    members = [b'"%d"%b1' % (number, separator) for number in range(MAX_MEMBERS + 1)]
    assert MappingCheck().is_readable(b"{%b}" % b",".join(members[1:]))
    assert not MappingCheck().is_readable(b"{%b}" % b",".join(members))


@pytest.mark.parametrize(
    "mapping", [b'{"a":{"x":1},"b":{"x":1}}', b'{"a":1e308,"b":-1.5,"c":[{"d":1},{"d":1}]}', b"{}"]
)
def test_readable_mappings(mapping: bytes) -> None:
    """A key may come again in another object, and numbers may have fractions."""
    assert MappingCheck().is_readable(mapping)
