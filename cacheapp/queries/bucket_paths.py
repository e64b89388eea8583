"""Follow the paths from one aggregation to others: `buckets_path`, and the order of terms.

Elasticsearch reads paths leniently (`a.b` for `a>b`). A path is reported only if it surely leads nowhere.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rapidfuzz import fuzz

from cacheapp.queries.aggregation_table import AGGREGATIONS
from cacheapp.queries.findings import MAX_SUGGESTIONS
from cacheapp.queries.suggestions import MAX_NAME_CHARACTERS

MAX_COMPARED = 500
"""How many existing paths are compared with a wrong one, at most; further ones are ignored."""
MAX_DOTS = 100
"""How many dots of a name are tried as the end of an aggregation's name."""
MAX_LEVELS = 60
"""How many levels of aggregations are looked through for existing paths."""
_SPECIAL = frozenset({"_count", "_key", "_bucket_count", "_term", "_value", "_as_string"})
_SEPARATORS = re.compile(r"[/.|:>-]")
"""What callers write instead of `>`."""
_NO_NUMBER = frozenset(
    {
        *("top_hits", "geo_bounds", "geo_centroid", "geo_line", "cartesian_bounds", "cartesian_centroid"),
        *("matrix_stats", "bucket_sort", "bucket_selector"),
    }
)
"""Aggregations that have neither buckets nor a number, so that no path can lead to them."""
Aggregations = Mapping[str, Any]


def below(aggregation: Any) -> Aggregations:
    """Return the aggregations within an aggregation."""
    if not isinstance(aggregation, dict):
        return {}
    found = aggregation.get("aggs", aggregation.get("aggregations"))
    return found if isinstance(found, dict) else {}


def kind_of(aggregation: Any) -> str | None:
    """Return the type of an aggregation."""
    if not isinstance(aggregation, dict):
        return None
    return next((key for key in aggregation if key not in ("aggs", "aggregations", "meta")), None)


def _key_of(step: str) -> str:
    """Return the key of a bucket at the end of a step: `[a]` of `days[a]`; empty if there is none.

    Not by a regular expression, which would take quadratic time on many brackets.
    """
    opened = step.find("[", step.rfind("]", 0, -1) + 1) if step.endswith("]") else -1
    return step[opened:] if opened >= 0 else ""


def _without_key(step: str) -> str:
    return step.removesuffix(_key_of(step))


def wrong_step(path: str, beside: Aggregations) -> tuple[str, str] | None:
    """Return the step of a path that leads nowhere, and the path up to it; None where the path may be right.

    `beside` has the aggregations that the path can begin with.
    """
    steps = path.split(">")
    level = beside
    for place, step in enumerate(steps):
        name = _without_key(step.strip())
        is_last = place == len(steps) - 1
        if is_last and name in _SPECIAL:
            return None
        if name in level:
            level = below(level[name])
            continue
        if is_last and _is_number_of(name, level):
            return None
        return step, ">".join(steps[:place])
    return None


def _is_number_of(name: str, level: Aggregations) -> bool:
    """Return whether the last step of a path is `aggregation.number`: one of the aggregation's numbers, or an
    aggregation in it.
    """
    for dot in [place for place, sign in enumerate(name) if sign == "."][:MAX_DOTS]:
        head, rest = _without_key(name[:dot]), name[dot + 1 :]
        if head not in level:
            continue
        row = AGGREGATIONS.get(kind_of(level[head]) or "")
        if row is None or rest in below(level[head]) or rest in _SPECIAL or not row.numbers:
            return True
        return rest.partition(".")[0] in row.numbers
    return False


def suggested(path: str, beside: Aggregations, asker: str | None) -> tuple[str, ...]:
    """Return complete paths that were probably meant, the likeliest first. All of them exist.

    Args:
        path: The wrong path.
        beside: The aggregations that the path can begin with.
        asker: The one of them that the path belongs to. The path can't lead to that one itself; if it works on the
            buckets of another, the path has to lead into that. None: the path is an order, which can't name a pipeline
            aggregation.
    """
    if len(path) > MAX_NAME_CHARACTERS:
        return ()
    others = {name: one for name, one in beside.items() if name != asker}
    row = None if asker is None else AGGREGATIONS.get(kind_of(beside[asker]) or "")
    is_of_buckets = row is not None and row.pipeline == "sibling"
    paths = list(itertools.islice(_whole_paths(others, is_order=asker is None), MAX_COMPARED))
    if not is_of_buckets:
        paths.append("_count")
    variants = _spellings(path)
    ranked = sorted(
        (-max(fuzz.ratio(_plain(one), spelt) for spelt in variants), one.endswith("_count"), place, one)
        for place, one in enumerate(paths)
        if ">" in one or not is_of_buckets
    )
    return tuple(_with_keys(one, path) for *_, one in ranked[:MAX_SUGGESTIONS])


def _whole_paths(level: Aggregations, *, is_order: bool, before: str = "") -> Iterator[str]:
    """Yield the paths to single numbers: to metrics or one of their numbers, and to the counts of buckets."""
    for name, one in level.items():
        row = AGGREGATIONS.get(kind_of(one) or "")
        if row is None or (is_order and row.pipeline is not None):
            continue
        if row.numbers:
            yield from (f"{before}{name}.{number}" for number in sorted(row.numbers))
        elif row.holds:
            if before.count(">") < MAX_LEVELS:
                yield from _whole_paths(below(one), is_order=is_order, before=f"{before}{name}>")
            yield f"{before}{name}>_count"
        elif kind_of(one) not in _NO_NUMBER:
            yield f"{before}{name}"


def _plain(path: str) -> str:
    return _SEPARATORS.sub(">", path).lower()


def _spellings(path: str) -> tuple[str, ...]:
    """Return the spellings of a path to compare: the path as it is, and one with the name of a number that was probably
    meant.
    """
    plain = _plain(">".join(_without_key(step.strip()) for step in path.split(">")))
    head, sign, last = plain.rpartition(">")
    return plain, *(f"{head}{sign}{one}" for one in _NUMBERS.get(last, ()))


def _with_keys(found: str, given: str) -> str:
    """Return the path `found` with the bucket keys of the path `given`, if both have equally many steps."""
    steps, keyed = found.split(">"), [_key_of(step.strip()) for step in given.split(">")]
    if len(steps) != len(keyed):
        return found
    pairs = zip(steps[:-1], keyed[:-1], strict=True)
    return ">".join([*(f"{step}{key}" for step, key in pairs), steps[-1]])


_NUMBERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("average", "mean"), ("avg",)),
    **dict.fromkeys(("maximum", "highest"), ("max",)),
    **dict.fromkeys(("minimum", "lowest"), ("min",)),
    **dict.fromkeys(("total",), ("sum",)),
    **dict.fromkeys(("std", "stddev", "deviation"), ("std_deviation",)),
    **dict.fromkeys(("number", "n", "value_count"), ("count",)),
}
