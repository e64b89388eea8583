"""Case 29: a soak, in fast motion. `make soak` runs it for as long as one likes."""

import json
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from bench.soak.plan import kinds_for
from bench.soak.report import Options
from bench.soak.soak import Soak
from dev.elasticsearch.node import Node
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 1
"""Of a plan that has every kind of fault once."""


@pytest.mark.minutes
def test_case_29_soak(node: Node, cluster: Elasticsearch, tmp_path: Path, figure: Figure) -> None:
    """Case 29: while the cluster changes, users ask for everything and all kinds of faults come and go, no instance
    says anything that was not true at its stated age, nothing is logged that shouldn't be, memory, descriptors and
    tasks stay flat, the caches stay within their limits, and in the end all instances say what is true.
    """
    result = Soak(Options(seconds=25, instances=2, users=4, seed=SEED), node, tmp_path).run()
    found = result.as_json()
    assert not result.failed, json.dumps({key: found[key] for key in ("wrong", "violations")}, indent=1)
    assert set(result.happened) == set(kinds_for(instances=2, nodes=1))
    assert found["checked_total"] > 500
    assert any(one.is_judged for trends in result.trends.values() for one in trends)
    rss = next(one for one in result.trends[0, 1] if one.measure == "rss_bytes")
    figure(
        29,
        f"{result.options.seconds:.0f} s, {result.options.instances} instances, {len(result.plan)} faults: "
        f"{found['checked_total']} answers compared, 0 wrong; memory {rss.grew / 1e6:+.1f} MB in {rss.seconds:.0f} s",
    )
