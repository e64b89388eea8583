"""Values that change one after the other, in one process."""

from esassistant.shared_values import MemoryValues
from tests.support.fakes import FakeClock


async def test_values_in_memory() -> None:
    """A change is given what is there and the time in milliseconds, replaces what it returns, and gives its result."""
    values = MemoryValues(FakeClock(12.5))
    assert await values.change(["a", "b"], lambda there, now: ({"a": b"1"}, (dict(there), now)), 60) == ({}, 12_500)
    assert await values.change(["a", "b"], lambda there, _: ({}, dict(there)), 60) == {"a": b"1"}
    assert await values.change(["b"], lambda there, _: ({}, dict(there)), 60) == {}
