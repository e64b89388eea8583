"""The panel of the mapping cache on the status page."""

import pytest
from django.template.loader import render_to_string

from cacheapp.reports import StoreReport
from tests.support.fakes import A_MAPPING, FakeClock, FakeReader, Instance, MemoryStore


@pytest.mark.parametrize(
    ("poisoned_total", "told"), [(0, None), (1, "1 foreign value ignored"), (2, "2 foreign values ignored")]
)
async def test_foreign_values_in_redis(poisoned_total: int, told: str | None) -> None:
    """The panel says how many values in Redis were not ours, and nothing where there was none."""
    clock = FakeClock()
    instance = Instance(FakeReader({"a": A_MAPPING}), MemoryStore(clock), clock)
    context = {"cache": instance.cache.report(), "refresh": instance.refresher.report()}
    page = render_to_string("cacheapp/cache_panel.html", {**context, "store": StoreReport("redis", poisoned_total)})
    assert "generation none yet" in page
    assert told is None or told in page
    assert (told is None) == ("foreign" not in page)
