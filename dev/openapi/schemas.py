"""Make JSON Schemas of the API's answers from the types that it serialises.

If a type says `Any` or `str` because its content comes as JSON or from the database, the real type is given here.
"""

import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from types import GenericAlias
from typing import Any, TypedDict

import msgspec

from cacheapp.cache.cluster_fields import ClusterFieldPage
from cacheapp.cache.comparisons import Comparison
from cacheapp.change_reports import FeedReport, HistoryReport, WebhooksReport
from cacheapp.describe.description import Description
from cacheapp.describe.families import ClusterDescription
from cacheapp.mapping.diff import Retyped
from cacheapp.mapping.fields import Field
from cacheapp.reports import (
    CacheReport,
    DemandReport,
    FieldLimitsReport,
    FieldUsesReport,
    FieldValuesReport,
    InstanceReport,
    RefresherReport,
    RefreshReport,
    SearchReport,
    StoreReport,
    ValidationReport,
    ViewsReport,
    WatchReport,
)
from cacheapp.shown_changes import Feed, ShownChange
from cacheapp.state.changes import ChangeKind
from cacheapp.state.clusters import ClusterId
from cacheapp.state.field_pages import CompactField
from cacheapp.state.listing import Page
from cacheapp.validation import Validated
from cacheapp.values.shown import ShownFieldValues, ValuesNote
from esassistant.elasticsearch.stats import PoolReport
from esassistant.http.access_log import AccessLogReport
from esassistant.http.connections import ConnectionsReport
from esassistant.http.logins import LoginsReport
from esassistant.http.statistics import HttpReport
from esassistant.http.streams import StreamsReport
from esassistant.http.tokens_file import TokensFileReport
from esassistant.log_handler import LogReport
from esassistant.registry import registry
from healthapp.judge import VerdictReport
from healthapp.monitor import HealthReport
from healthapp.performance import PerformanceReport
from healthapp.process import ProcessReport

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"
POOLS = dict[str, PoolReport]
COMPACT_WITH_VALUES = "CompactFieldWithValues"
PARTIAL = "InstanceStatistics"
"""The schema of reports of instances. These may be of another version, so any member may be missing."""
REPORTS: Mapping[str, Any] = {
    "http": HttpReport,
    "connections": ConnectionsReport,
    "streams": StreamsReport,
    "logins": LoginsReport,
    "log": LogReport,
    "access_log": AccessLogReport | None,
    "tokens_file": TokensFileReport,
    "elasticsearch": POOLS,
    "elasticsearch_cache": POOLS,
    "elasticsearch_watch": POOLS,
    "elasticsearch_health": POOLS,
    "store": StoreReport,
    "mapping_cache": CacheReport,
    "refresher": RefresherReport,
    "watch": WatchReport,
    "history": HistoryReport,
    "webhooks": WebhooksReport,
    "feed": FeedReport,
    "search": SearchReport,
    "validation": ValidationReport,
    "field_values": FieldValuesReport,
    "field_uses": FieldUsesReport,
    "demand": DemandReport,
    "field_limits": FieldLimitsReport,
    "process": ProcessReport,
    "health": HealthReport | None,
    "verdict": VerdictReport,
}
"""Resource → the type of its report to other instances."""


def typed(source: type, **types: Any) -> type:
    """Return the type `source` with other types for some members."""
    hints = typing.get_type_hints(source) | types
    members: list[tuple[str, Any]] = [(name, hints[name]) for name in source.__annotations__]
    return msgspec.defstruct(source.__name__, members, namespace={"__doc__": source.__doc__})


def part_of(source: type, name: str, doc: str, *members: str) -> type:
    """Return a type that has some members of `source`."""
    hints = typing.get_type_hints(source)
    return msgspec.defstruct(name, [(member, hints[member]) for member in members], namespace={"__doc__": doc})


def told_by_instances() -> Any:
    """Return the type of what an instance reports to the others, as `cacheapp.apps` collects it."""
    told = {resource.name: REPORTS[resource.name] for resource in registry.declared() if resource.metrics}
    members = {**told, "server": str, "cluster": ClusterId, "refreshes": dict[str, RefreshReport]}
    return TypedDict(PARTIAL, members, total=False)  # type: ignore[operator]


def response_types() -> dict[str, Any]:
    """Return the types of whole answers, by the names that the table of operations uses."""
    instances = GenericAlias(dict, (str, typed(InstanceReport, report=told_by_instances())))
    change = typed(ShownChange, kind=ChangeKind, retyped=list[Retyped])
    shown = (
        *("status", "verdict", "since", "effects", "next_step"),
        *("checked_at", "duration_ms", "ttl_seconds"),
    )
    cache = part_of(CacheReport, "CacheTotals", "The mapping cache now, in short.", "warm", "indices", "answers")
    passes = part_of(RefresherReport, "RefreshTotals", "The refresher since the start, in short.", "passes_total")
    return {
        "HealthTotals": part_of(HealthReport, "HealthTotals", "The status and the verdict, for anybody.", *shown),
        "HealthDetails": part_of(
            HealthReport, "HealthDetails", "The status, the verdict, and what each check found.", *shown, "services"
        ),
        "StatisticsTotals": msgspec.defstruct("StatisticsTotals", [("cache", cache), ("refresh", passes)]),
        "StatisticsDetails": msgspec.defstruct(
            "StatisticsDetails",
            [
                ("cache", CacheReport),
                ("views", ViewsReport),
                ("refresh", RefresherReport),
                ("watch", WatchReport),
                ("field_values", FieldValuesReport),
                ("field_uses", FieldUsesReport),
                ("demand", DemandReport),
                ("field_limits", FieldLimitsReport),
                ("history", HistoryReport),
                ("feed", FeedReport),
                ("store", StoreReport),
                ("instances", instances),
            ],
        ),
        "PerformanceReport": typed(
            PerformanceReport,
            instances=instances,
        ),
        "RefreshReport": RefreshReport,
        "Validated": Validated,
        "Page": Page,
        **field_lists(),
        "ClusterFieldPage": ClusterFieldPage,
        "Description": Description,
        "ClusterDescription": ClusterDescription,
        "Feed": typed(Feed, changes=GenericAlias(list, (change,))),
        "Comparison": Comparison,
        "History": msgspec.defstruct("History", [("changes", GenericAlias(list, (change,)))]),
    }


def field_lists() -> dict[str, Any]:
    """Return the types of lists of fields: full or compact, with values or without."""
    values = [("values", ShownFieldValues | None)]
    with_values = msgspec.defstruct("FieldWithValues", values, bases=(Field,), kw_only=True)
    compact = msgspec.defstruct(COMPACT_WITH_VALUES, values, bases=(CompactField,), kw_only=True)
    rows = {
        "FieldList": Field,
        "CompactFieldList": CompactField,
        "FieldsWithValues": with_values,
        "CompactFieldsWithValues": compact,
    }
    lists: dict[str, Any] = {}
    for name, row in rows.items():
        members: list[tuple[str, Any]] = [("total", int), ("fields", GenericAlias(tuple, (row, ...)))]
        members.append(("next_cursor", str | None))
        lists[name] = msgspec.defstruct(name, members + ([("values", ValuesNote | None)] if "With" in name else []))
    return lists


def schemas() -> dict[str, Schema]:
    """Return the schemas of all types in answers, by name."""
    _, components = msgspec.json.schema_components(response_types().values(), ref_template=REF)
    return {name: _as_serialised(name, schema) for name, schema in sorted(components.items())}


def unnamed(value: object, place: str = "") -> Iterable[str]:
    """Yield the places in a schema where a member has no description of its type."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner == {} and name != "additionalProperties":
                yield f"{place}/{name}"
            yield from unnamed(inner, f"{place}/{name}")


def _as_serialised(name: str, schema: Schema) -> Schema:
    """Return the schema of what is written: all members are there, even those with defaults. (msgspec describes what it
    reads.)
    """
    described = {key: value for key, value in schema.items() if key not in ("title", "required")}
    explained: dict[str, str] = {}
    if "description" in described:
        described["description"], explained = _taken_apart(described["description"])
    if "properties" in described:
        described["properties"] = {
            name: _member(name, member, explained.get(name)) for name, member in described["properties"].items()
        }
        if name in (CompactField.__name__, COMPACT_WITH_VALUES):
            described["required"] = schema["required"]
        elif name != PARTIAL:
            described["required"] = list(described["properties"])
    return described


def _member(name: str, schema: Schema, explained: str | None) -> Schema:
    """Return the schema of a member with its description, if it has one, and without its default. A type that may be
    null is written in short, and a member whose name is that of a moment gets the format of one.
    """
    described = {key: value for key, value in schema.items() if key != "default"}
    if set(described) == {"anyOf"} and all(set(choice) == {"type"} for choice in described["anyOf"]):
        described = {"type": [choice["type"] for choice in described["anyOf"]]}
    if (name == "at" or name.endswith("_at")) and "string" in described["type"]:
        described["format"] = "date-time"
    return described if explained is None else {**described, "description": explained}


_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): ", re.MULTILINE)
"""The beginning of an entry in the section "Args:" of a docstring: the names of one or several members."""


def _taken_apart(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text of a class's docstring, and what its section "Args:" says of each member."""
    text: list[str] = []
    explained: dict[str, str] = {}
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        if not paragraph.startswith(("Args:\n", "Attributes:\n")):
            text.append(_one_line(paragraph))
            continue
        _, *entries = _ENTRY.split(paragraph)
        for names, said in zip(entries[::2], entries[1::2], strict=True):
            explained |= dict.fromkeys(names.split(", "), _one_line(said))
    return "\n\n".join(text), explained


def _one_line(text: str) -> str:
    """Return a text on one line, in the words of JSON."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))
