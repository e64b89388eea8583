"""Follow the paths from one aggregation to others: `buckets_path`, and the order of terms.

Elasticsearch reads them generously (`a.b` for `a>b`); what isn't sure to lead nowhere passes.
"""

import re
from collections.abc import Mapping
from typing import Any

from cacheapp.queries.aggregation_table import AGGREGATIONS
from cacheapp.queries.suggestions import nearest

_KEY = re.compile(r"\[[^\]]*\]$")
_SPECIAL = frozenset({"_count", "_key", "_bucket_count", "_term", "_value", "_as_string"})
Aggregations = Mapping[str, Any]


def below(aggregation: Any) -> Aggregations:
    """Return the aggregations within one."""
    if not isinstance(aggregation, dict):
        return {}
    found = aggregation.get("aggs", aggregation.get("aggregations"))
    return found if isinstance(found, dict) else {}


def kind_of(aggregation: Any) -> str | None:
    """Return the type of an aggregation."""
    if not isinstance(aggregation, dict):
        return None
    return next((key for key in aggregation if key not in ("aggs", "aggregations", "meta")), None)


def wrong_step(path: str, beside: Aggregations) -> tuple[str, tuple[str, ...]] | None:
    """Tell which step of a path leads nowhere.

    Returns:
        The step, and whole paths that were probably meant; None where the path may be right.
    """
    steps = path.split(">")
    level = beside
    for place, step in enumerate(steps):
        name = _KEY.sub("", step.strip())
        is_last = place == len(steps) - 1
        if is_last and name in _SPECIAL:
            return None
        if name in level:
            level = below(level[name])
            continue
        if is_last and _is_number_of(name, level):
            return None
        before = ">".join(steps[:place])
        return step, tuple(_meant(name, level, before, is_first=place == 0))
    return None


def _is_number_of(name: str, level: Aggregations) -> bool:
    """Tell whether a last step is an aggregation with the name of one of its numbers, or of one in it."""
    for dot in [place for place, sign in enumerate(name) if sign == "."]:
        head, rest = _KEY.sub("", name[:dot]), name[dot + 1 :]
        if head not in level:
            continue
        row = AGGREGATIONS.get(kind_of(level[head]) or "")
        if row is None or rest in below(level[head]) or rest in _SPECIAL or not row.numbers:
            return True
        return rest.partition(".")[0] in row.numbers
    return False


def _meant(name: str, level: Aggregations, before: str, *, is_first: bool) -> list[str]:
    prefix = f"{before}>" if before else ""
    head, _, rest = name.partition(".")
    if head in level and rest:
        row = AGGREGATIONS.get(kind_of(level[head]) or "")
        return [f"{prefix}{head}.{one}" for one in nearest(rest, row.numbers if row else (), _NUMBERS)]
    found = []
    for separator in ("/", ".", "|", ":", "-"):
        if is_first and separator in name:
            again = name.replace(separator, ">")
            if wrong_step(again, level) is None:
                found.append(again)
    found += [f"{prefix}{one}" for one in nearest(name, [*level, "_count"]) if f"{prefix}{one}" not in found]
    found += [f"{prefix}{one}" for one in level if f"{prefix}{one}" not in found]
    return found[:3]


def first_meant(path: str, step: str, meant: tuple[str, ...]) -> tuple[str, ...]:
    """Return whole paths: the steps behind the wrong one are kept."""
    place = path.find(step)
    rest = path[place + len(step) :] if place >= 0 else ""
    return tuple(one if rest and one.endswith(rest) else f"{one}{rest}" for one in meant)


_NUMBERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("average", "mean"), ("avg",)),
    **dict.fromkeys(("maximum", "highest"), ("max",)),
    **dict.fromkeys(("minimum", "lowest"), ("min",)),
    **dict.fromkeys(("total",), ("sum",)),
    **dict.fromkeys(("std", "stddev", "deviation"), ("std_deviation",)),
    **dict.fromkeys(("number", "n", "value_count"), ("count",)),
}
