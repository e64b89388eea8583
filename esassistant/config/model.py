"""The configuration: what can be set, and what is in force."""

import enum
from dataclasses import dataclass, field
from typing import Any

from esassistant.config.pools import PoolRule
from esassistant.config.tokens import ScopedToken
from esassistant.config.webhooks import Target

LONGEST_SECONDS = 7 * 86_400
LONGEST_NEGATIVE_TTL_SECONDS = 3600
MOST_CACHE_BYTES = 2**40

NO_PROFILE = "none"
ROLLBACK = "rollback"
ROLLBACK_VARIABLES = {"ELASTICSEARCH_POOL_MAXSIZE": 20, "MAPPING_CACHE_BATCH_SIZE": 1, "MIN_REFRESH_INTERVAL": 0}
"""Who sets these three to these numbers, and no profile, gets the profile `rollback`."""


class Origin(enum.Enum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    PROFILE = "profile"
    FILE = "file"
    RUN = "make run"
    """What `make run` noted of the node that it started."""
    ENVIRONMENT = "environment"
    IMPLIED = "implied"
    """Given by nobody, but it follows from other settings: `ROLLBACK_VARIABLES`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force. `repr` never shows the value of a secret."""

    name: str
    value: Any = field(repr=False)
    default: Any = field(repr=False)
    origin: Origin
    secret: bool


class Details(enum.StrEnum):
    """`ESASSISTANT_DETAILS`: who may read details."""

    ALWAYS = "always"
    AUTHORIZED = "authorized"


class Predict(enum.StrEnum):
    """`MAPPING_CACHE_PREDICT`: by what is chosen what costs calls before anybody asks."""

    OFF = "off"
    RULE = "rule"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class ElasticsearchConfig:
    """How Elasticsearch is reached. `urls` carry no credentials: those given inside a URL are moved to `username` and
    `password`.

    Times in seconds, pool sizes in connections. `pools` are the rules of `ELASTICSEARCH_POOLS`, and one for what those
    don't match. `pool_block`: a call that finds its pool full waits; else it gets one of `pool_overflow` connections.
    """

    urls: tuple[str, ...]
    api_key: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    ca_certs: str
    verify_certs: bool
    pool_block: bool
    pool_overflow: int
    pools: tuple[PoolRule, ...]
    request_timeout: float
    connect_timeout: float
    max_retries: int
    no_node: str = ""
    """Why there is no node to ask; then `urls` is empty."""

    @property
    def max_connections(self) -> int:
        """How many calls may be under way at once, of all pools."""
        overflow = 0 if self.pool_block else self.pool_overflow
        return sum(rule.maxsize + overflow for rule in self.pools)


@dataclass(frozen=True, slots=True)
class MappingCacheConfig:
    """How long mappings count as fresh, how they are read, and how often. Times in seconds.

    `max_stale` is how long past `ttl` a mapping may still be answered, marked stale; 0: never.
    `negative_ttl` is how long an absent name is not asked for again. `max_bytes` bounds the mappings held.
    `watch`: changes are waited for, not only looked for by the schedule.
    `adaptive`: batches of a pass start with `batch_size` and grow and shrink with how the cluster answers.
    Only indices that match one of `include` and none of `exclude` (patterns with `*`) are read and answered.
    `predict`: by what field values are gathered ahead, and what is read first by a process that knows nothing.
    """

    ttl: float
    max_stale: float
    negative_ttl: float
    max_bytes: int
    batch_size: int
    fetch_timeout: float
    indices_timeout: float
    min_refresh_interval: float
    refresh_interval: float
    watch: bool
    adaptive: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    predict: Predict = Predict.RULE


@dataclass(frozen=True, slots=True)
class FieldValuesConfig:
    """Field values are gathered of families that match one of `families` (patterns with `*`; empty: of none), never of
    fields that match one of `private`, by at most so many calls a minute of the whole deployment.
    """

    families: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    calls_per_minute: int = 6


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How often health is checked (`ttl`) and how long one check may take (`timeout`), in seconds."""

    ttl: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set, as far as this project's own code uses it. Lives as long as the process."""

    elasticsearch: ElasticsearchConfig
    mapping_cache: MappingCacheConfig
    health: HealthConfig
    api_tokens: tuple[str, ...] = field(repr=False)
    tokens_file: str
    """An absolute path; empty: there is none."""
    scoped_tokens: tuple[ScopedToken, ...]
    """What the file said at the start."""
    details: Details
    cors_origins: tuple[str, ...]
    drain_seconds: float
    max_body_bytes: int
    max_in_flight: int
    max_connections: int
    hot_path: bool
    mcp: bool
    access_log: bool
    search_scripts: bool
    search_max_bytes: int
    redis_url: str = field(repr=False)
    field_values: FieldValuesConfig = FieldValuesConfig()
    unknown_names: tuple[str, ...] = ()
    """What is wrong with names in the environment that are no settings, but were meant to be: a sentence each."""
    webhooks_file: str = ""
    """An absolute path; empty: there is none."""
    webhook_targets: tuple[Target, ...] = ()
    """What the file said at the start."""


@dataclass(frozen=True, slots=True)
class NodeUrls:
    """The nodes of one cluster, and the credentials that stood inside their URLs (the same for all, or none)."""

    urls: tuple[str, ...]
    username: str = ""
    password: str = field(default="", repr=False)
