"""How long it takes to validate a search: `python -m bench.queries [--rounds N] [--searches N]`.

The searches are like those of a dashboard (four filters, an aggregation within another, a sort), on indices with many
fields. Some are right; in the others one name is misspelt, so that it is compared with all fields. They are validated
in this process, without HTTP. Processor time is measured, so that other processes on the machine don't count.
"""

import json
import os
import random
import sys
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, parser, save
from bench.report.lines import Goal, Line, milliseconds, print_lines
from cacheapp.queries.validation import Prepared, validate

NAMES = (
    "customer order total amount price status created updated shipping address city country code name title line motor"
    " speed vendor alarm text user agent request response bytes duration level message host ip port region zone rack"
    " tier event action outcome reason score rating review count width height weight size brand category tag note"
)
WORDS = NAMES.split()
TYPES = ("keyword", "text", "long", "double", "date", "boolean", "ip")
PER_OBJECT = 12
FIELDS = (500, 4_000)
RIGHT_GOALS = {500: Goal(at_most=1.0)}
WRONG_GOALS = {4_000: Goal(at_most=5.0)}


def mapping(fields: int, chance: random.Random) -> dict[str, Any]:
    """Return a mapping with `fields` fields in objects, at random by `chance`. Their names have two words each."""
    properties: dict[str, Any] = {}
    made = 0
    while made < fields:
        around = f"{chance.choice(WORDS)}{chance.choice(WORDS).title()}{chance.randrange(40)}"
        inside = properties.setdefault(around, {"properties": {}})["properties"]
        for _ in range(min(PER_OBJECT, fields - made)):
            name = f"{chance.choice(WORDS)}{chance.choice(('', '_', 'Of'))}{chance.choice(WORDS)}"
            made += name not in inside
            inside[name] = {"type": chance.choice(TYPES)}
    return {"properties": properties}


def search(prepared: Prepared, chance: random.Random, *, is_wrong: bool) -> dict[str, Any]:
    """Return a search of some of the fields, at random by `chance`. With `is_wrong`, two letters of a name are
    exchanged.
    """
    known = prepared.known.all_fields.values()
    words = [field.path for field in known if field.type == "keyword"]
    numbers = [field.path for field in known if field.type in ("long", "double")]
    name = chance.choice(words)
    name = f"{name[:-3]}{name[-2]}{name[-3]}{name[-1]}" if is_wrong else name
    filters = [
        {"term": {name: "a"}},
        {"range": {chance.choice(numbers): {"gte": 3}}},
        {"terms": {chance.choice(words): ["a", "b", "c"]}},
        {"exists": {"field": chance.choice(words)}},
    ]
    sums = {"s": {"avg": {"field": chance.choice(numbers)}}}
    return {
        "query": {"bool": {"filter": filters}},
        "aggs": {"t": {"terms": {"field": chance.choice(words)}, "aggs": sums}},
        "sort": [{chance.choice(numbers): "desc"}],
        "size": 20,
    }


def timed(prepared: Prepared, bodies: list[dict[str, Any]]) -> list[float]:
    """Return the seconds of each validation, sorted."""
    seconds = []
    for body in bodies:
        started_at = time.thread_time()
        validate(prepared, body)
        seconds.append(time.thread_time() - started_at)
    return sorted(seconds)


def measure(fields: int, rounds: int, searches: int) -> list[Line]:
    """Return the lines for indices with `fields` fields."""
    chance = random.Random(fields)
    prepared = Prepared.of({"index": json.dumps(mapping(fields, chance)).encode()})
    lines = []
    for what, is_wrong, goals in (("right", False, RIGHT_GOALS), ("with suggestions", True, WRONG_GOALS)):
        bodies = [search(prepared, chance, is_wrong=is_wrong) for _ in range(searches)]
        runs = [timed(prepared, bodies) for _ in range(rounds)]
        p50, p99 = ([run[int(share * len(run))] for run in runs] for share in (0.5, 0.99))
        name, samples = f"{fields:,} fields, {what}".replace(",", " ", 1), rounds * searches
        lines.append(milliseconds(f"{name}: p50", p50, samples, None, ""))
        lines.append(milliseconds(f"{name}: p99", p99, samples, goals.get(fields), ""))
    return lines


def main() -> int:
    arguments = parser("queries", __doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="default: %(default)d")
    arguments.add_argument("--searches", type=int, default=1_000, help="in each round (default: %(default)d)")
    options = arguments.parse_args()
    started = Started()
    lines = [line for fields in FIELDS for line in measure(fields, options.rounds, options.searches)]
    print_lines(lines)
    save(options.json, **started.facts(), lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
