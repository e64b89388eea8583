"""Reports of the mapping cache, its passes and what is derived from mappings: frozen, in the shape that the API
shows.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from esassistant.metrics import Kind, Metric
from esassistant.resource import ReportHandle


class PassOutcome(enum.Enum):
    """How a request for a refresh ended, or how far it is. `unchanged`: nothing had to be read, because the metadata is
    the same. `overlap`: another process holds the lease and does the work.
    """

    STARTED = "started"
    JOINED = "joined"
    RATE_LIMITED = "rate_limited"
    OVERLAP = "overlap"
    UNCHANGED = "unchanged"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"


ENDS = (PassOutcome.UNCHANGED, PassOutcome.COMPLETED, PassOutcome.PARTIAL, PassOutcome.FAILED)
"""The outcomes of a pass that ran."""


@dataclass(frozen=True, slots=True)
class FailedIndex:
    """An index whose mapping could not be read in a pass, and why."""

    index: str
    error: str


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """One pass, full or not, under way or ended. Its numbers are about this pass alone.

    `indices_total` is None until the listing has arrived. `trigger`: who asked for the pass. `read_total`: of how many
    indices the mapping was read; `changed_total`, `removed_total`: how many indices changed or are gone;
    `requests_total`: how many requests it sent. `errors` lists only the first failures; `failed_total` counts all.
    `error` says why the pass failed, or why it was not published. `published`: whether other processes can take it
    over.
    """

    counts_since_start: ClassVar[bool] = False
    id: str
    outcome: PassOutcome
    trigger: str
    started_at: datetime
    duration_seconds: float
    indices_total: int | None
    read_total: int
    changed_total: int
    removed_total: int
    failed_total: int
    requests_total: int
    published: bool
    error: str | None
    errors: tuple[FailedIndex, ...]


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Answers since the start. `failures_total`: reads of the cluster that failed. `hit_ratio`: the share of hits among
    hits and misses, from 0 to 1; None before the first answer.
    """

    hits_total: int
    misses_total: int
    stale_served_total: int
    failures_total: int
    hit_ratio: float | None


@dataclass(frozen=True, slots=True)
class NamedSeconds:
    """A name with a duration or an age in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The mapping cache now. Ages are None while the cache has no snapshot or no index. `warm`: what a pass of this
    process or another found is known. `body_bytes`: the size of all distinct mappings; `rendered_bytes`: the size of
    the whole answers that are kept ready. `stalest`: the indices that were confirmed the longest ago, with their ages.
    `slowest_reads`: the slowest of the latest reads of single names. Both lists are bounded. `flights_total` and the
    next three: reads of single names, as in `SingleFlightReport`. `evictions_total`: mappings that were dropped because
    there was no room.
    """

    warm: bool
    indices: int
    aliases: int
    distinct_mappings: int
    body_bytes: int
    rendered_bytes: int
    oldest_age_seconds: float | None
    stale_indices: int
    stalest: tuple[NamedSeconds, ...]
    slowest_reads: tuple[NamedSeconds, ...]
    answers: CacheCounts
    flights_total: int
    shared_flights_total: int
    remembered_failures_total: int
    in_flight: int
    evictions_total: int


@dataclass(frozen=True, slots=True)
class ViewsReport:
    """What is derived from mappings. Counted since the start: mappings taken apart for a view, sets of parts merged,
    texts written, and things dropped because there was no room. `kept_bytes`: the estimated size of what is kept now.
    """

    derived_total: int
    merged_total: int
    written_total: int
    dropped_total: int
    kept_bytes: int
    max_kept_bytes: int


@dataclass(frozen=True, slots=True)
class RefresherReport:
    """The refresher now. `next_refresh_in_seconds` is None when the schedule is off. `on_demand_in_seconds`: how long
    until a refresh may be asked for again, as far as this process knows. `min_interval_seconds`:
    `MIN_REFRESH_INTERVAL`. `outcomes`: how many passes had each outcome. `illegal_names_total`: names in answers of the
    cluster that can't be the name of anything; they were left out, and each counts as often as it came.
    `store_generation`: the number of the published state that this process has; `store_error`: why nothing is shared
    now; None if sharing works.
    """

    running: RefreshReport | None
    last: RefreshReport | None
    next_refresh_in_seconds: float | None
    min_interval_seconds: float
    on_demand_in_seconds: float
    passes_total: int
    outcomes: Mapping[str, int]
    illegal_names_total: int
    store_generation: int | None
    store_error: str | None


class WatchState(enum.Enum):
    """What the watch does. `off`: it is switched off. `standby`: another process watches. `refused`: the cluster
    doesn't let this service watch.
    """

    OFF = "off"
    STARTING = "starting"
    WATCHING = "watching"
    STANDBY = "standby"
    RECONNECTING = "reconnecting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class WatchReport:
    """The watch of this process. `wakes_total`: how often it learnt that the metadata had changed. `changes_total`: how
    many mappings had changed then.
    """

    state: WatchState
    metadata_version: int | None
    wakes_total: int
    changes_total: int
    requests_total: int
    last_change_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Searches validated since the start. `wrong_total`: those with a finding. `codes`: how many searches had each kind
    of finding. `families`: how many wrong searches there were of each family, the most first; only the first 50
    families have a count of their own, all others are counted together as `other`. `kept_fields`: how many fields the
    mappings have that are kept ready for validation.
    """

    validated_total: int
    wrong_total: int
    codes: Mapping[str, int]
    families: Mapping[str, int]
    kept_fields: int


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one instance reported of itself `age_seconds` ago: its statistics by resource."""

    age_seconds: float
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The store through which processes share mappings. `poisoned_total`: how many values in Redis, or rows in the
    database, were not what this service writes, since the start; they are ignored.

    `writable`: the last write of this process succeeded, or none was made yet; then `write_error` and
    `unwritable_since` are None. `refused_writes_total`: writes that the store refused since the start.
    """

    kind: Literal["redis", "database"]
    poisoned_total: int
    writable: bool = True
    write_error: str | None = None
    unwritable_since: datetime | None = None
    refused_writes_total: int = 0


@dataclass(frozen=True, slots=True)
class SearchReport:
    """Searches through this service that were answered, since the start, and how many of the answers say that time ran
    out, that shards failed, or that nothing was found. `untold_total`: answers that don't have this information where
    Elasticsearch puts it.
    """

    answered_total: int = 0
    timed_out_total: int = 0
    failed_shards_total: int = 0
    empty_total: int = 0
    untold_total: int = 0


@dataclass(frozen=True, slots=True)
class FieldValuesReport:
    """Field values: for how many families and fields they are known, how many other families have none, by reason
    (`left_out`), and the size of what is kept. `enabled`: whether this process gathers values.

    `calls_total`: calls of this process to the cluster since the start; `outcomes`: how many of them had each outcome.
    `hindered`: how often a call that was due was put off, by reason. `paused_seconds`: for how long no call is made,
    because the cluster refused one. `last_error`: why a call failed last; None if none did.
    """

    enabled: bool
    families: int
    fields: int
    left_out: Mapping[str, int]
    kept_bytes: int
    oldest_age_seconds: float | None
    calls_total: int
    outcomes: Mapping[str, int]
    hindered: Mapping[str, int]
    paused_seconds: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class FieldUsesReport:
    """Use counts: for how many families and fields they are known in the whole deployment. `counted_total`: how many
    searches this process counted since the start. `uncounted_total`: how many it did not count, because too many
    different ones came at once.
    """

    families: int
    fields: int
    counted_total: int
    uncounted_total: int


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What a policy would have cost and achieved since the model began, whichever policy is in force: calls to the
    cluster, asks of the deployment, and how many of these would have found warm field values. It is assumed that no
    limit on calls holds the policy back.
    """

    calls_total: int
    asks_total: int
    warm_total: int
    warm_percent: float | None


@dataclass(frozen=True, slots=True)
class WarmedFamily:
    """A family whose field values are gathered: how likely it is asked for within an hour, whether its values are warm
    (younger than six hours), what became of them since the family is known, and why they are gathered or not.

    `useful_total`: gathered ahead, and asked for while warm. `in_vain_total`: gathered ahead, and not asked for.
    `late_total`: asked for when they were to be gathered ahead, but were not yet. `missed_total`: asked for while cold,
    and not expected.
    """

    family: str
    chance_percent: float
    is_warm: bool
    useful_total: int
    in_vain_total: int
    late_total: int
    missed_total: int
    reason: str


@dataclass(frozen=True, slots=True)
class DemandReport:
    """The demand model. `mode`: the policy in force, as set by `MAPPING_CACHE_PREDICT`. `families`: how many families
    it remembers. `learning_seconds`: for how long it has been learning; None: it hasn't begun.

    `examples_total`: how many examples it learnt from in this process since the start; `examples_ever`: in the whole
    deployment. `asked_percent`: the share of these in which the family was asked for within the hour. `skill_percent`:
    by how much the squared error of its predictions is smaller than that of always predicting the usual rate; below 0
    it is larger; None: too early to say. `uncounted_total`: asks that this process did not count, because too many
    different names were asked for at once. `fates`: what became of field values, as this process found out since the
    start. `shadow`: what each policy would have cost and achieved. `warmed`: the 20 families that were asked for last.
    `refused_state`: why what it had learnt before could not be used; None if it could, or if there was nothing.
    """

    mode: str
    families: int
    learning_seconds: float | None
    examples_total: int
    examples_ever: int
    asked_percent: float | None
    skill_percent: float | None
    uncounted_total: int
    fates: Mapping[str, int]
    shadow: Mapping[str, ShadowReport]
    warmed: tuple[WarmedFamily, ...]
    refused_state: str | None


@dataclass(frozen=True, slots=True)
class FamilyFields:
    """The member of a family that is nearest to its limit of fields: how many it has, and how many it may have
    (`index.mapping.total_fields.limit`). `share`: the first divided by the second; above 1 if the limit was lowered
    afterwards.
    """

    index: str
    fields: int
    limit: int
    share: float


@dataclass(frozen=True, slots=True)
class FieldLimitsReport:
    """The 20 families that are nearest to their limit of fields, by name, the fullest first. None: not known, because
    another process made the latest listing of the cluster.
    """

    families: Mapping[str, FamilyFields] | None


CACHE_REPORT: ReportHandle[CacheReport] = ReportHandle("mapping_cache")
VIEWS_REPORT: ReportHandle[ViewsReport] = ReportHandle("mapping_views")
REFRESHER_REPORT: ReportHandle[RefresherReport] = ReportHandle("refresher")
WATCH_REPORT: ReportHandle[WatchReport] = ReportHandle("watch")
STORE_REPORT: ReportHandle[StoreReport] = ReportHandle("store")
SEARCH_REPORT: ReportHandle[SearchReport] = ReportHandle("search")
VALIDATION_REPORT: ReportHandle[ValidationReport] = ReportHandle("validation")
FIELD_VALUES_REPORT: ReportHandle[FieldValuesReport] = ReportHandle("field_values")
FIELD_USES_REPORT: ReportHandle[FieldUsesReport] = ReportHandle("field_uses")
DEMAND_REPORT: ReportHandle[DemandReport] = ReportHandle("demand")
FIELD_LIMITS_REPORT: ReportHandle[FieldLimitsReport] = ReportHandle("field_limits")
INSTANCES_REPORT: ReportHandle[dict[str, InstanceReport]] = ReportHandle("instances")

CACHE_METRICS = (
    Metric(Kind.GAUGE, "cache_warm", "1 when the cache has mappings, from the cluster or the store.", "warm"),
    Metric(Kind.GAUGE, "cache_indices", "Indices known.", "indices"),
    Metric(Kind.GAUGE, "cache_aliases", "Aliases and data streams known.", "aliases"),
    Metric(Kind.GAUGE, "cache_distinct_mappings", "Different mappings held.", "distinct_mappings"),
    Metric(Kind.GAUGE, "cache_body_bytes", "Bytes of the different mappings held.", "body_bytes"),
    Metric(Kind.GAUGE, "cache_rendered_bytes", "Bytes of whole answers kept ready.", "rendered_bytes"),
    Metric(Kind.GAUGE, "cache_oldest_age_seconds", "Age of the oldest mapping.", "oldest_age_seconds"),
    Metric(Kind.GAUGE, "cache_stale_indices", "Indices whose mapping is older than the TTL.", "stale_indices"),
    Metric(Kind.GAUGE, "cache_reads_in_flight", "Reads of the cluster under way for misses.", "in_flight"),
    Metric(Kind.COUNTER, "cache_hits", "Answers from memory, stale ones included.", "answers.hits_total"),
    Metric(Kind.COUNTER, "cache_misses", "Answers that waited for the cluster.", "answers.misses_total"),
    Metric(Kind.COUNTER, "cache_stale_served", "Answers older than the TTL.", "answers.stale_served_total"),
    Metric(Kind.COUNTER, "cache_read_failures", "Reads of the cluster that failed.", "answers.failures_total"),
    Metric(Kind.COUNTER, "cache_flights", "Reads of the cluster begun for misses.", "flights_total"),
    Metric(Kind.COUNTER, "cache_shared_flights", "Callers who shared another's read.", "shared_flights_total"),
    Metric(Kind.COUNTER, "cache_evictions", "Mappings dropped to stay within the bytes allowed.", "evictions_total"),
)
REFRESH_METRICS = (
    Metric(
        Kind.COUNTER, "refresh_passes", "Passes that ended in this process, by outcome.", "outcomes.*", ("outcome",)
    ),
    Metric(Kind.GAUGE, "refresh_last_duration_seconds", "Time of the last full pass.", "last.duration_seconds"),
    Metric(
        Kind.GAUGE, "refresh_last_failed_indices", "Mappings that the last pass could not read.", "last.failed_total"
    ),
    Metric(Kind.GAUGE, "store_generation", "Number of the published state that this process has.", "store_generation"),
)
STORE_METRICS = (
    Metric(
        Kind.COUNTER,
        "store_poisoned_values",
        "Values in Redis, or rows in the database, that were not ours, and were ignored.",
        "poisoned_total",
    ),
    Metric(Kind.GAUGE, "store_writable", "0 while the store refuses the writes of this process.", "writable"),
    Metric(Kind.COUNTER, "store_refused_writes", "Writes that the store refused.", "refused_writes_total"),
)
SEARCH_METRICS = (
    Metric(Kind.COUNTER, "searches_answered", "Searches that were answered.", "answered_total"),
    Metric(Kind.COUNTER, "searches_timed_out", "Answers that say that time ran out.", "timed_out_total"),
    Metric(Kind.COUNTER, "searches_failed_shards", "Answers that say that shards failed.", "failed_shards_total"),
    Metric(Kind.COUNTER, "searches_empty", "Answers that say that nothing was found.", "empty_total"),
)
WATCH_METRICS = (
    Metric(
        Kind.STATE,
        "watch_state",
        "What the watch for changes does.",
        "state",
        states=tuple(state.value for state in WatchState),
    ),
    Metric(Kind.COUNTER, "watch_wakes", "Changes of the cluster's metadata that the watch was told of.", "wakes_total"),
    Metric(Kind.COUNTER, "watch_changes", "Mappings that were found changed by the watch.", "changes_total"),
)
VALIDATION_METRICS = (
    Metric(Kind.COUNTER, "validated_searches", "Searches validated from memory.", "validated_total"),
    Metric(Kind.COUNTER, "wrong_searches", "Searches of which a validation found something wrong.", "wrong_total"),
    Metric(Kind.COUNTER, "wrong_searches_by_code", "Searches with a finding, by its code.", "codes.*", ("code",)),
    Metric(
        Kind.COUNTER,
        "wrong_searches_by_family",
        "Wrong searches by family: the first 50, and all others under `other`.",
        "families.*",
        ("family",),
    ),
    Metric(Kind.GAUGE, "validation_kept_fields", "Fields of mappings that are kept looked up.", "kept_fields"),
)
FIELD_VALUES_METRICS = (
    Metric(Kind.GAUGE, "field_values_families", "Families of which field values are known.", "families"),
    Metric(
        Kind.GAUGE, "field_values_left_out", "Families that have no field values, by reason.", "left_out.*", ("reason",)
    ),
    Metric(Kind.GAUGE, "field_values_bytes", "Bytes of the field values that are kept.", "kept_bytes"),
    Metric(
        Kind.COUNTER,
        "field_values_calls",
        "Calls for field values to the cluster, by outcome.",
        "outcomes.*",
        ("outcome",),
    ),
    Metric(
        Kind.COUNTER,
        "field_values_hindered",
        "Calls for field values that were put off, by reason.",
        "hindered.*",
        ("reason",),
    ),
)
FIELD_USES_METRICS = (
    Metric(Kind.COUNTER, "field_uses_counted", "Searches whose fields were counted.", "counted_total"),
    Metric(Kind.COUNTER, "field_uses_uncounted", "Searches whose fields were not counted.", "uncounted_total"),
)
DEMAND_METRICS = (
    Metric(Kind.GAUGE, "demand_families", "Families that the demand model remembers.", "families"),
    Metric(Kind.COUNTER, "demand_examples", "Examples that the demand model learnt from.", "examples_total"),
    Metric(
        Kind.COUNTER,
        "demand_values",
        "What became of field values: gathered ahead and useful or in vain, or asked for while cold, late or missed.",
        "fates.*",
        ("fate",),
    ),
    Metric(
        Kind.GAUGE,
        "demand_shadow_calls",
        "Calls that each policy would have made since the demand model began, in the whole deployment.",
        "shadow.*.calls_total",
        ("policy",),
    ),
    Metric(
        Kind.GAUGE,
        "demand_shadow_warm_asks",
        "Asks that would have found warm values under each policy since then, in the whole deployment.",
        "shadow.*.warm_total",
        ("policy",),
    ),
    Metric(
        Kind.GAUGE,
        "demand_shadow_asks",
        "Asks since then, in the whole deployment.",
        "shadow.*.asks_total",
        ("policy",),
    ),
)
FIELD_LIMITS_METRICS = (
    Metric(
        Kind.GAUGE,
        "mapping_fields",
        "Fields of the fullest index of a family: of the 20 families nearest to their limit.",
        "families.*.fields",
        ("family",),
    ),
    Metric(
        Kind.GAUGE,
        "mapping_fields_limit",
        "Fields that this index may have (index.mapping.total_fields.limit).",
        "families.*.limit",
        ("family",),
    ),
)
