"""The configuration: what can be set, and what is in force.

`settings.py` reads the environment through a `Reader` into the frozen dataclasses below; all other code gets those. A
`Reader` collects every bad value, so that one message names them all.
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from esassistant.elasticsearch.routing import PoolRule

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
ENV_LINE = re.compile(r"#|(export )?[A-Za-z_0-9]+=")

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
    details: Details
    cors_origins: tuple[str, ...]
    drain_seconds: float
    max_in_flight: int
    hot_path: bool
    access_log: bool
    search_scripts: bool
    redis_url: str = field(repr=False)


class BadSettings(ValueError):
    """At least one setting has a value that can't be used; the message names each, and what it should be."""


class Reader:
    """Reads settings from mappings of names to texts, the strongest first, and remembers what it read.

    An empty text counts as not set. After the last setting call `finish()`.
    """

    def __init__(self, sources: Sequence[tuple[Origin, Mapping[str, str]]]) -> None:
        self._sources = list(sources)
        self.settings: dict[str, Setting] = {}
        self.problems: list[str] = []

    def fall_back_on(self, origin: Origin, source: Mapping[str, str]) -> None:
        """Add a source that is weaker than all so far."""
        self._sources.append((origin, source))

    def finish(self) -> None:
        """Raises `BadSettings` when any value so far was bad."""
        if self.problems:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            raise BadSettings(f"These settings can't be used (docs/settings.md describes each):\n{lines}")

    def text(self, name: str, default: str = "", *, secret: bool = False) -> str:
        return self._read(name, default, str, secret=secret)

    def boolean(self, name: str, *, default: bool) -> bool:
        def parse(raw: str) -> bool:
            if (lowered := raw.lower()) in TRUE | FALSE:
                return lowered in TRUE
            raise ValueError("use true or false")

        return self._read(name, default, parse)

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        def parse(raw: str) -> int:
            try:
                value = int(raw)
            except ValueError:
                raise ValueError(f"use a whole number from {minimum} to {maximum}") from None
            if not minimum <= value <= maximum:
                raise ValueError(f"use a whole number from {minimum} to {maximum}")
            return value

        return self._read(name, default, parse)

    def seconds(self, name: str, default: float, *, minimum: float, maximum: float = LONGEST_SECONDS) -> float:
        def parse(raw: str) -> float:
            wanted = f"use a number of seconds from {minimum:g} to {maximum:g}"
            try:
                value = float(raw)
            except ValueError:
                raise ValueError(wanted) from None
            if not minimum <= value <= maximum:  # also refuses nan
                raise ValueError(wanted)
            return value

        return self._read(name, default, parse)

    def choice(self, name: str, default: E) -> E:
        """One of the values of the enumeration that `default` belongs to."""
        kind = type(default)

        def parse(raw: str) -> E:
            try:
                return kind(raw.lower())
            except ValueError:
                raise ValueError(f"use one of {', '.join(str(choice.value) for choice in kind)}") from None

        return self._read(name, default, parse)

    def words(self, name: str, default: tuple[str, ...] = (), *, secret: bool = False) -> tuple[str, ...]:
        """A comma-separated list; blanks around the words and empty words are dropped."""
        return self._read(name, default, _split, secret=secret)

    def parsed(self, name: str, default: str, parse: Callable[[str], T], *, secret: bool = False) -> T:
        """A text in a form of its own; `parse` raises `ValueError` whose message says what to write instead."""
        try:
            parsed_default = parse(default)
        except ValueError as error:
            raise AssertionError(f"the default of {name} is bad: {error}") from error
        return self._read(name, parsed_default, parse, secret=secret)

    def profile(self, name: str, profiles: Sequence[str]) -> str:
        """The profile that the setting `name` chooses; without one, `rollback` if `ROLLBACK_VARIABLES` are set to their
        numbers, else `NO_PROFILE`.
        """

        def parse(raw: str) -> str:
            if (lowered := raw.lower()) in (NO_PROFILE, *profiles):
                return lowered
            raise ValueError(f"use one of {', '.join((NO_PROFILE, *profiles))}")

        chosen = self._read(name, NO_PROFILE, parse)
        if self.settings[name].origin is Origin.DEFAULT and self._rollback_variables_are_set():
            chosen = ROLLBACK
            self.settings[name] = replace(self.settings[name], value=chosen, origin=Origin.IMPLIED)
        return chosen

    def refuse(self, name: str, reason: str) -> None:
        """Report a value that is bad for a reason its own parser can't see."""
        self.problems.append(f"{name}: {reason}")

    def _rollback_variables_are_set(self) -> bool:
        given = {name: self._raw(name)[1] for name in ROLLBACK_VARIABLES}
        try:
            return all(raw is not None and float(raw) == ROLLBACK_VARIABLES[name] for name, raw in given.items())
        except ValueError:
            return False

    def _read(self, name: str, default: T, parse: Callable[[str], T], *, secret: bool = False) -> T:
        origin, raw = self._raw(name)
        value = default
        if raw is not None:
            try:
                value = parse(raw)
            except ValueError as error:
                shown = "a value that is not shown" if secret else repr(raw[:80])
                self.problems.append(f"{name}: got {shown}; {error}")
        self.settings[name] = Setting(name, value, default, origin, secret)
        return value

    def _raw(self, name: str) -> tuple[Origin, str | None]:
        for origin, source in self._sources:
            if raw := source.get(name, "").strip():
                return origin, raw
        return Origin.DEFAULT, None


def bad_lines(text: str) -> list[int]:
    """The numbers of those lines of a `.env` file that would be dropped silently."""
    lines = enumerate(text.splitlines(), start=1)
    return [number for number, line in lines if line.strip() and not ENV_LINE.match(line)]


def _split(raw: str) -> tuple[str, ...]:
    return tuple(word for part in raw.split(",") if (word := part.strip()))


@dataclass(frozen=True, slots=True)
class NodeUrls:
    """The nodes of one cluster, and the credentials that stood inside their URLs (the same for all, or none)."""

    urls: tuple[str, ...]
    username: str = ""
    password: str = field(default="", repr=False)


URL_EXAMPLE = "use URLs such as https://es.example.org:9200, separated by commas"


def parse_node_urls(raw: str) -> NodeUrls:
    """One or several comma-separated http(s) URLs, with or without credentials. Raises `ValueError` that says what to
    write.
    """
    urls: list[str] = []
    credentials: set[tuple[str, str]] = set()
    for word in _split(raw):
        try:
            parts = urlsplit(word)
        except ValueError:
            raise ValueError(URL_EXAMPLE) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(URL_EXAMPLE)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError("a URL has a port that is not a number from 1 to 65535")
        if parts.query or parts.fragment:
            raise ValueError("a URL here has no query and no fragment")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = port or (443 if parts.scheme == "https" else 9200)
        urls.append(f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}")
        credentials.add((unquote(parts.username or ""), unquote(parts.password or "")))
    if not urls:
        raise ValueError("name at least one URL")
    if len({url.partition(":")[0] for url in urls}) > 1:
        raise ValueError("use either http or https for all nodes")
    if len(credentials) > 1:
        raise ValueError("use the same credentials for all nodes")
    username, password = credentials.pop()
    return NodeUrls(tuple(urls), username, password)
