"""How long a description takes: `python -m bench.describe`. Prints milliseconds of processor time.

It describes a made-up mapping of 6 500 fields, for several budgets. Of the first description only the time counts that
blocks the event loop; the following ones are measured as a whole.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from cacheapp.describe.description import describe
from cacheapp.describe.families import FamilyIndex, describe_families, families_of, summary_of
from cacheapp.describe.fields import FieldIndex
from cacheapp.mapping.fields import fields
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE

FIELDS = 6_500
FAMILIES = 100
BUDGETS = (500, 1_000, 2_000, 4_000)
ROUNDS = 20
QUESTIONS = (
    "Which hosts have the highest load of the processor?",
    "How many requests failed in the last hour, and why?",
    "Wie lange dauern die langsamsten Abfragen?",
    "Quels utilisateurs ont telecharge le plus de fichiers ?",
    "queue depth by name",
)
PRODUCTS = ("redis", "mysql", "postgresql", "nginx", "kafka", "docker", "kubernetes", "aws", "azure", "system")
OBJECTS = (
    "cpu",
    "memory",
    "disk",
    "network",
    "request",
    "response",
    "queue",
    "session",
    "user",
    "file",
    "query",
    "cache",
)
NAMES = ("name", "id", "status", "total", "count", "bytes", "duration", "error", "rate", "start_time", "max", "avg")


def mapping(fields_total: int) -> bytes:
    """Return a mapping with `fields_total` fields, in objects within objects."""
    root: dict[str, dict[str, object]] = {"@timestamp": {"type": "date"}}
    for number in range(fields_total - 1):
        rest, name = divmod(number, len(NAMES))
        rest, inner = divmod(rest, len(OBJECTS))
        rest, product = divmod(rest, len(PRODUCTS))
        around = root
        for part in (PRODUCTS[product], f"{OBJECTS[inner]}{rest or ''}"):
            around = around.setdefault(part, {"properties": {}})["properties"]  # type: ignore[assignment]
        around[NAMES[name]] = {"type": ("keyword", "long", "date")[name % 3]}
    return json.dumps({"properties": root}).encode()


def processor_ms(function: Callable[[], object]) -> float:
    """Return the processor time of a call in milliseconds, whatever else runs."""
    started_at = time.process_time()
    function()
    return (time.process_time() - started_at) * 1000


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = fields({"index": mapping(FIELDS)})
    made: list[FieldIndex] = []
    made_ms = processor_ms(lambda: made.append(FieldIndex(found, 1)))
    print(f"{len(found):,} fields: made ready in {made_ms:.0f} ms, once, in a thread")
    for budget_tokens in BUDGETS:
        _show(f"{budget_tokens:>6,} tokens", [partial(describe, "x", made[0], budget_tokens, q) for q in QUESTIONS])
    names = {f"{PRODUCTS[n % len(PRODUCTS)]}-{OBJECTS[n // 10]}": f"{n}" for n in range(FAMILIES)}
    snapshot = Snapshot(
        indices={name: IndexEntry(None, mapping_hash, 0.0, Source.MEMORY) for name, mapping_hash in names.items()}
    )
    index = FamilyIndex(
        families_of(snapshot, ALL_VISIBLE), {f"{n}": summary_of(mapping(20 + n)) for n in range(FAMILIES)}
    )
    _show(f"{len(index.families)} families", [partial(describe_families, index, 2_000, q) for q in QUESTIONS])


def _show(what: str, calls: Sequence[Callable[[], object]]) -> None:
    times = [processor_ms(call) for _ in range(ROUNDS) for call in calls]
    print(f"{what}: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")


if __name__ == "__main__":
    main()
