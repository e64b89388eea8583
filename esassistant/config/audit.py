"""The audit: finds settings that are fine one by one, but contradict each other, have no effect or are dangerous.

Pure functions of the configuration. `checks.py` shows the findings as Django's system checks; docs/settings.md lists
them all.
"""

import enum
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from esassistant.config.model import NO_PROFILE, Config, Details, Origin, Setting
from esassistant.config.pools import DEFAULT_POOL
from esassistant.units import as_seconds

LONGEST_DRAIN_SECONDS = 60.0
SHORTEST_SECRET_KEY = 50
FEWEST_DIFFERENT = 5
"""The same limit as in Django's check `security.W009`."""


class Level(enum.Enum):
    """How bad a finding is. A warning is printed; an error ends the command, `serve` included."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the audit: what is wrong (`message`), what to do (`hint`), and in which `settings`. Never contains
    a secret.
    """

    id: str
    level: Level
    message: str
    hint: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The input of the rules."""

    config: Config
    settings: Mapping[str, Setting]
    debug: bool
    hosts: Sequence[str]

    def given(self, *names: str) -> tuple[str, ...]:
        """Return those of `names` that are set explicitly."""
        return tuple(name for name in names if self.settings[name].origin is not Origin.DEFAULT)


Message = Callable[[Facts], str | None]
"""Returns what is wrong, or None if nothing is."""


@dataclass(frozen=True, slots=True)
class AuditRule:
    """One thing that the audit looks for: `message` returns what is wrong in the `settings`, or None; `hint` says what
    to do.
    """

    id: str
    level: Level
    settings: tuple[str, ...]
    hint: str
    message: Message
    deployed: bool
    """True if only `check --deploy` applies the rule: on a developer's own machine, what it finds is fine."""


RULES: list[AuditRule] = []


def audit(
    config: Config, settings: Mapping[str, Setting], debug: bool, hosts: Sequence[str], *, deployed: bool = False
) -> tuple[Finding, ...]:
    """Return all findings about a configuration.

    Args:
        hosts: Django's `ALLOWED_HOSTS`.
        deployed: True: only the findings that matter where the service is deployed for others. False: all the others.
    """
    facts = Facts(config, settings, debug, hosts)
    return tuple(
        Finding(rule.id, rule.level, message, rule.hint, rule.settings)
        for rule in RULES
        # A project that embeds this service sets some of these things by Django's own settings, which Django checks
        # itself.
        if rule.deployed is deployed
        and settings.keys() >= set(rule.settings)
        and (message := rule.message(facts)) is not None
    )


def _rule(
    number: str, *settings: str, hint: str, level: Level = Level.WARNING, deployed: bool = False
) -> Callable[[Message], Message]:
    """Return a decorator that makes a function a rule. Its arguments are those of `AuditRule`; `number` is the last
    part of the id, such as `W001`.
    """

    def add(message: Message) -> Message:
        RULES.append(AuditRule(f"esassistant.{number}", level, settings, hint, message, deployed))
        return message

    return add


@_rule(
    "E001",
    "DEBUG",
    "ALLOWED_HOSTS",
    hint="Set DEBUG=false, or keep only localhost and private addresses in ALLOWED_HOSTS.",
    level=Level.ERROR,
)
def _debug_in_public(facts: Facts) -> str | None:
    public = [host for host in facts.hosts if not _is_local(host)]
    if not facts.debug or not public:
        return None
    return f"Error pages with source code and settings are shown to everybody who reaches {', '.join(public)}."


@_rule(
    "W001",
    "MAPPING_CACHE_TTL",
    "MAPPING_CACHE_REFRESH_INTERVAL",
    hint="Set MAPPING_CACHE_TTL above MAPPING_CACHE_REFRESH_INTERVAL.",
)
def _stale_between_passes(facts: Facts) -> str | None:
    cache = facts.config.mapping_cache
    if not cache.ttl <= cache.refresh_interval < cache.ttl + cache.max_stale:
        return None
    return (
        f"Mappings turn stale after {as_seconds(cache.ttl)}, but the next scheduled pass comes "
        f"{as_seconds(cache.refresh_interval)} after the last: before each pass everything is stale."
    )


@_rule(
    "W002",
    "MAPPING_CACHE_TTL",
    "MAPPING_CACHE_MAX_STALE",
    "MAPPING_CACHE_REFRESH_INTERVAL",
    hint="Set MAPPING_CACHE_TTL above MAPPING_CACHE_REFRESH_INTERVAL, or permit stale answers by "
    "MAPPING_CACHE_MAX_STALE.",
)
def _too_old_between_passes(facts: Facts) -> str | None:
    cache = facts.config.mapping_cache
    if not cache.ttl + cache.max_stale <= cache.refresh_interval:
        return None
    return (
        f"No mapping older than {as_seconds(cache.ttl + cache.max_stale)} is answered, but the next scheduled pass "
        f"comes {as_seconds(cache.refresh_interval)} after the last: before each pass every reader waits for the "
        "cluster."
    )


@_rule(
    "W003",
    "MAPPING_CACHE_REFRESH_INTERVAL",
    hint="Set MAPPING_CACHE_REFRESH_INTERVAL below MAPPING_CACHE_TTL; or, if cron runs the command `refresh_cache` "
    "more often than that, leave it.",
)
def _no_schedule(facts: Facts) -> str | None:
    cache = facts.config.mapping_cache
    if cache.refresh_interval:
        return None
    return (
        "No passes are scheduled: new indices are found and mappings renewed only when somebody reads or refreshes "
        f"them, and health is degraded {as_seconds(cache.ttl)} after the last refresh."
    )


@_rule(
    "W004",
    "MIN_REFRESH_INTERVAL",
    "MAPPING_CACHE_TTL",
    "MAPPING_CACHE_REFRESH_INTERVAL",
    hint="Set MIN_REFRESH_INTERVAL below MAPPING_CACHE_TTL.",
)
def _refreshes_come_too_late(facts: Facts) -> str | None:
    cache = facts.config.mapping_cache
    if cache.refresh_interval or cache.min_refresh_interval < cache.ttl:
        return None
    return (
        f"Without a schedule only refreshes on demand keep mappings fresh for {as_seconds(cache.ttl)}, but these "
        f"are permitted only every {as_seconds(cache.min_refresh_interval)}."
    )


@_rule(
    "W005",
    "ELASTICSEARCH_CONNECT_TIMEOUT",
    hint="Set ELASTICSEARCH_CONNECT_TIMEOUT below ELASTICSEARCH_REQUEST_TIMEOUT.",
)
def _connect_timeout_never_runs_out(facts: Facts) -> str | None:
    config = facts.config
    longest_call = max(
        config.elasticsearch.request_timeout,
        config.mapping_cache.fetch_timeout,
        config.mapping_cache.indices_timeout,
        config.health.timeout,
    )
    is_wait = config.elasticsearch.pool_block  # then it also bounds the wait for a free connection
    if (
        not facts.given("ELASTICSEARCH_CONNECT_TIMEOUT")
        or is_wait
        or config.elasticsearch.connect_timeout < longest_call
    ):
        return None
    return f"ELASTICSEARCH_CONNECT_TIMEOUT has no effect: every call ends within {as_seconds(longest_call)} as a whole."


@_rule(
    "W006",
    "ELASTICSEARCH_VERIFY_CERTS",
    hint="Name the cluster's CA by ELASTICSEARCH_CA_CERTS and remove ELASTICSEARCH_VERIFY_CERTS.",
)
def _certificates_unchecked(facts: Facts) -> str | None:
    if facts.config.elasticsearch.verify_certs or not _uses_tls(facts):
        return None
    return "Any certificate is accepted: whoever stands between can read the credentials and answer for the cluster."


@_rule(
    "W007",
    "ELASTICSEARCH_URL",
    "ELASTICSEARCH_CA_CERTS",
    "ELASTICSEARCH_VERIFY_CERTS",
    hint="Use https in ELASTICSEARCH_URL, or remove the settings for certificates.",
)
def _no_certificates_without_tls(facts: Facts) -> str | None:
    given = facts.given("ELASTICSEARCH_CA_CERTS", "ELASTICSEARCH_VERIFY_CERTS")
    if not given or _uses_tls(facts):
        return None
    return f"{_listed(given)} no effect: ELASTICSEARCH_URL is plain http."


@_rule(
    "W008",
    "ELASTICSEARCH_CA_CERTS",
    "ELASTICSEARCH_VERIFY_CERTS",
    hint="Remove ELASTICSEARCH_VERIFY_CERTS, so that certificates are checked against ELASTICSEARCH_CA_CERTS.",
)
def _ca_unused(facts: Facts) -> str | None:
    elasticsearch = facts.config.elasticsearch
    if elasticsearch.verify_certs or not elasticsearch.ca_certs:
        return None
    return "ELASTICSEARCH_CA_CERTS has no effect: ELASTICSEARCH_VERIFY_CERTS=false accepts any certificate."


@_rule(
    "W009",
    "ELASTICSEARCH_URL",
    "ELASTICSEARCH_API_KEY",
    "ELASTICSEARCH_USERNAME",
    "ELASTICSEARCH_PASSWORD",
    hint="Use https in ELASTICSEARCH_URL.",
)
def _credentials_in_clear(facts: Facts) -> str | None:
    elasticsearch = facts.config.elasticsearch
    hosts = {urlsplit(url).hostname or "" for url in elasticsearch.urls}
    remote = sorted(host for host in hosts if not _is_loopback(host))
    if _uses_tls(facts) or not remote or not (elasticsearch.api_key or elasticsearch.username):
        return None
    return f"The credentials travel to {', '.join(remote)} unencrypted, with every call."


@_rule(
    "W010",
    "ESASSISTANT_DRAIN_SECONDS",
    hint="Set ESASSISTANT_DRAIN_SECONDS to a little more than your load balancer takes to notice /readyz.",
)
def _drains_long(facts: Facts) -> str | None:
    if facts.config.drain_seconds <= LONGEST_DRAIN_SECONDS:
        return None
    return (
        f"Ending takes more than {as_seconds(facts.config.drain_seconds)}: service supervisors usually kill sooner, "
        "and then nothing is closed in order."
    )


@_rule(
    "W011",
    "ESASSISTANT_API_TOKENS",
    "ESASSISTANT_TOKENS_FILE",
    hint="Set ESASSISTANT_API_TOKENS to the output of `openssl rand -hex 32`, or make tokens with a scope by "
    "the command `make_token`.",
)
def _no_tokens(facts: Facts) -> str | None:
    if facts.config.api_tokens or facts.config.tokens_file:
        return None
    return "There are no API tokens: no program can do over HTTP what needs one, such as a refresh."


@_rule(
    "W012",
    "ALLOWED_HOSTS",
    hint="Set ALLOWED_HOSTS to the names under which the service is called.",
)
def _no_hosts(facts: Facts) -> str | None:
    if facts.debug or facts.hosts:
        return None
    return "No host name is allowed: everything but /livez and /readyz is answered with 400."


@_rule(
    "W013",
    "ESASSISTANT_PROFILE",
    hint="Remove ESASSISTANT_PROFILE, or those settings of your own that it also sets.",
)
def _profile_overruled(facts: Facts) -> str | None:
    profile = facts.settings["ESASSISTANT_PROFILE"]
    chosen = profile.value != NO_PROFILE and profile.origin is not Origin.IMPLIED
    if not chosen or any(setting.origin is Origin.PROFILE for setting in facts.settings.values()):
        return None
    return f"The profile {profile.value} has no effect: everything that it sets is also set more strongly."


@_rule(
    "W014",
    "ESASSISTANT_HSTS_SECONDS",
    "ESASSISTANT_HTTPS",
    hint="Set ESASSISTANT_HTTPS=true, or remove ESASSISTANT_HSTS_SECONDS.",
)
def _hsts_without_https(facts: Facts) -> str | None:
    if not facts.given("ESASSISTANT_HSTS_SECONDS") or facts.settings["ESASSISTANT_HTTPS"].value:
        return None
    return "ESASSISTANT_HSTS_SECONDS has no effect: the header is sent only with ESASSISTANT_HTTPS=true."


@_rule(
    "W015",
    "ELASTICSEARCH_POOL_OVERFLOW",
    "ELASTICSEARCH_POOL_BLOCK",
    hint="Remove ELASTICSEARCH_POOL_OVERFLOW, or set ELASTICSEARCH_POOL_BLOCK=false.",
)
def _overflow_of_a_blocking_pool(facts: Facts) -> str | None:
    if not facts.given("ELASTICSEARCH_POOL_OVERFLOW") or not facts.config.elasticsearch.pool_block:
        return None
    return "ELASTICSEARCH_POOL_OVERFLOW has no effect: with ELASTICSEARCH_POOL_BLOCK=true calls wait for a connection."


@_rule(
    "W016",
    "ELASTICSEARCH_POOL_MAXSIZE",
    "ELASTICSEARCH_POOLS",
    hint="Remove ELASTICSEARCH_POOL_MAXSIZE, or the pool default from ELASTICSEARCH_POOLS.",
)
def _size_of_no_pool(facts: Facts) -> str | None:
    given = any(rule.name == DEFAULT_POOL for rule in facts.settings["ELASTICSEARCH_POOLS"].value)
    if not facts.given("ELASTICSEARCH_POOL_MAXSIZE") or not given:
        return None
    return "ELASTICSEARCH_POOL_MAXSIZE has no effect: ELASTICSEARCH_POOLS gives the pool default a size of its own."


@_rule(
    "W017",
    "ESASSISTANT_TOKENS_FILE",
    "ESASSISTANT_DETAILS",
    hint="Set ESASSISTANT_DETAILS=authorized.",
)
def _scopes_without_effect(facts: Facts) -> str | None:
    if not facts.config.tokens_file or facts.config.details is not Details.ALWAYS:
        return None
    return (
        "The tokens of ESASSISTANT_TOKENS_FILE hide nothing: with ESASSISTANT_DETAILS=always everybody reads all names "
        "and mappings without a token."
    )


def _uses_tls(facts: Facts) -> bool:
    # All nodes have the same scheme.
    return any(url.startswith("https:") for url in facts.config.elasticsearch.urls)


def _listed(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last} have" if rest else f"{last} has"


def _is_loopback(host: str) -> bool:
    """Return True if a host name or address certainly means this machine."""
    address = _address(host)
    return address.is_loopback if address else _is_localhost(host)


def _is_local(host: str) -> bool:
    """Return True if an entry of `ALLOWED_HOSTS` certainly means this machine or a private network."""
    address = _address(host)
    return address.is_private if address else _is_localhost(host)


def _is_localhost(host: str) -> bool:
    return f".{host.lower()}".endswith(".localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


@_rule(
    "W019",
    "ESASSISTANT_HTTPS",
    hint="Set ESASSISTANT_HTTPS=true behind a proxy that ends TLS, and start with `serve --forwarded-allow-ips`.",
    deployed=True,
)
def _plain_http(facts: Facts) -> str | None:
    if facts.settings["ESASSISTANT_HTTPS"].value:
        return None
    return (
        "ESASSISTANT_HTTPS is false: tokens, passwords and cookies of sessions may travel unencrypted, and HTTP isn't "
        "redirected."
    )


@_rule(
    "W020",
    "ESASSISTANT_HSTS_SECONDS",
    hint="Set ESASSISTANT_HSTS_SECONDS to 3600, and to 31536000 once HTTPS works for good.",
    deployed=True,
)
def _no_hsts(facts: Facts) -> str | None:
    if not facts.settings["ESASSISTANT_HTTPS"].value or facts.settings["ESASSISTANT_HSTS_SECONDS"].value:
        return None
    return (
        "ESASSISTANT_HSTS_SECONDS is 0: browsers try plain HTTP first each time, which whoever stands between can use."
    )


@_rule(
    "W021",
    "SECRET_KEY",
    hint='Set SECRET_KEY to what `python -c "import secrets; print(secrets.token_urlsafe(50))"` prints.',
    deployed=True,
)
def _weak_secret_key(facts: Facts) -> str | None:
    key = str(facts.settings["SECRET_KEY"].value or "")
    if len(key) >= SHORTEST_SECRET_KEY and len(set(key)) >= FEWEST_DIFFERENT:
        return None
    return (
        f"SECRET_KEY is missing, or has fewer than {SHORTEST_SECRET_KEY} characters or {FEWEST_DIFFERENT} different "
        "ones: who guesses it can make sessions of staff."
    )


@_rule("W022", hint="Correct the name, or take it out of the environment; docs/settings.md lists every setting.")
def _names_without_effect(facts: Facts) -> str | None:
    return " ".join(facts.config.unknown_names) or None
