"""The configuration: its types, and the values in force."""

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
"""If these three settings have these values and no profile is chosen, the profile `rollback` is in force."""


class Origin(enum.Enum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    PROFILE = "profile"
    FILE = "file"
    RUN = "make run"
    """`make run` wrote down the node that it started."""
    ENVIRONMENT = "environment"
    IMPLIED = "implied"
    """Not set, but it follows from other settings: `ROLLBACK_VARIABLES`."""


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
    """`MAPPING_CACHE_PREDICT`: what predicts which families will be asked for, to make costly calls ahead of time."""

    OFF = "off"
    RULE = "rule"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class ElasticsearchConfig:
    """How Elasticsearch is reached. Times in seconds, pool sizes in connections. What isn't explained here is a
    setting of the same name with `ELASTICSEARCH_` before it.

    Attributes:
        urls: Without credentials. Credentials inside a URL are moved to `username` and `password`.
        pools: The rules of `ELASTICSEARCH_POOLS`, and one for all other indices.
        pool_block: True: a call that finds its pool full waits. False: it gets one of `pool_overflow` extra
            connections.
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
    """Why there is no node to call; then `urls` is empty."""

    @property
    def max_connections(self) -> int:
        """The largest number of calls that may be under way at once, over all pools."""
        overflow = 0 if self.pool_block else self.pool_overflow
        return sum(rule.maxsize + overflow for rule in self.pools)


@dataclass(frozen=True, slots=True)
class MappingCacheConfig:
    """How long mappings count as fresh, how they are read, and how often. Times in seconds. What isn't explained here
    is a setting whose name ends with the same words.

    Attributes:
        ttl: How long a mapping counts as fresh.
        max_stale: How long after `ttl` a mapping may still be answered, marked as stale; 0: not at all.
        negative_ttl: For how long an absent name isn't looked up again.
        max_bytes: The most bytes of mappings to keep.
        watch: Wait for changes, besides looking for them on a schedule.
        adaptive: Let the batches of a pass start with `batch_size`, then grow and shrink with the cluster's response
            times.
        include, exclude: Patterns with `*`. Only indices that match an `include` and no `exclude` are read and
            answered.
        predict: What predicts which field values to gather ahead, and what an empty cache reads first.
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
    """Which fields' values are gathered, and how many calls that may take.

    Attributes:
        families: Patterns with `*` of the families whose values are gathered; empty: no values are gathered.
        private: Patterns with `*` of the fields whose values are never gathered.
        calls_per_minute: The most calls per minute for this, of the whole deployment.
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
    """The whole configuration that this project's own code uses. Lives as long as the process.
    docs/settings.md explains the settings of the same names.
    """

    elasticsearch: ElasticsearchConfig
    mapping_cache: MappingCacheConfig
    health: HealthConfig
    api_tokens: tuple[str, ...] = field(repr=False)
    tokens_file: str
    """An absolute path; empty if there is no such file."""
    scoped_tokens: tuple[ScopedToken, ...]
    """The tokens in the file at the start."""
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
    """A sentence for each name in the environment that was meant to be a setting but has no effect."""
    webhooks_file: str = ""
    """An absolute path; empty if there is no such file."""
    webhook_targets: tuple[Target, ...] = ()
    """The targets in the file at the start."""


@dataclass(frozen=True, slots=True)
class NodeUrls:
    """The nodes of one cluster, and the credentials from their URLs: either all URLs have the same ones, or none has
    any.
    """

    urls: tuple[str, ...]
    username: str = ""
    password: str = field(default="", repr=False)
