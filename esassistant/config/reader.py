"""Reads the settings from the environment, a `.env` file and a profile into the configuration.

If several sources have a setting, the first of these counts:

1. The environment.
2. The file that `ESASSISTANT_ENV_FILE` names; by default `.env` in the base folder.
3. For `ELASTICSEARCH_URL`: the node that `make run` wrote down.
4. The profile that `ESASSISTANT_PROFILE` names.
5. The default.

docs/settings.md describes each setting.
"""

import enum
import importlib.util
import logging
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.connection import parse_url as parse_redis_url

from esassistant.config.home import NotBelieved, believed_text
from esassistant.config.model import (
    LONGEST_NEGATIVE_TTL_SECONDS,
    LONGEST_SECONDS,
    MOST_CACHE_BYTES,
    NO_PROFILE,
    ROLLBACK,
    ROLLBACK_VARIABLES,
    Config,
    Details,
    ElasticsearchConfig,
    FieldValuesConfig,
    HealthConfig,
    MappingCacheConfig,
    NodeUrls,
    Origin,
    Predict,
    Setting,
)
from esassistant.config.pools import LARGEST_POOL, parse_pools, with_default_pool
from esassistant.config.run_note import RunNote, read_note
from esassistant.config.spelling import wrong_in_environment, wrong_in_file
from esassistant.config.tokens import load_tokens
from esassistant.config.toml_file import BadFile
from esassistant.config.webhooks import load_targets

# environ logs each line that it can't parse, with any secret in it. We refuse such lines ourselves, below.
logging.getLogger("environ.environ").setLevel(logging.ERROR)

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
ENV_LINE = re.compile(r"#|(export )?[A-Za-z_0-9]+=")


class BadSettings(ImproperlyConfigured):
    """One or more settings have values that can't be used. The message names each, and says what to write."""


class Reader:
    """Reads settings from several sources, the strongest first, and remembers what it read.

    An empty text counts as not set. After the last setting call `finish()`.
    """

    def __init__(self, sources: Sequence[tuple[Origin, Mapping[str, str]]]) -> None:
        self._sources = list(sources)
        self.settings: dict[str, Setting] = {}
        self.problems: list[str] = []

    def fall_back_on(self, origin: Origin, source: Mapping[str, str]) -> None:
        """Add a source that is weaker than all sources so far."""
        self._sources.append((origin, source))

    def fall_back_on_file(self, origin: Origin, path: Path) -> None:
        """Add a file of `NAME=value` lines as the weakest source so far.

        Lines that can't be parsed are refused. The whole file is refused if others could have written it.
        """

        class EnvFile(environ.Env):  # type: ignore[misc]  # (it has no types)
            # A dict of its own: environ would write into the process's environment, and lose the origin of each value.
            ENVIRON: ClassVar[dict[str, str]] = {}

        try:
            text = believed_text(path)
        except NotBelieved as distrust:
            self.refuse(path.name, str(distrust))
            return
        except (OSError, UnicodeDecodeError) as error:
            self.refuse(path.name, f"can't be read ({type(error).__name__})")
            return
        for number in bad_lines(text):
            self.refuse(f"{path.name}, line {number}", "is neither NAME=value nor a comment")
        EnvFile.read_env(StringIO(text))
        self.fall_back_on(origin, EnvFile.ENVIRON)

    def names_in(self, *origins: Origin) -> list[str]:
        """Return all names in the sources of these origins, whether or not they are settings."""
        return [name for origin, source in self._sources if origin in origins for name in source]

    def finish(self) -> None:
        """Raise `BadSettings` if any value so far was bad."""
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
        """Read one value of an enumeration, the one that `default` belongs to."""
        kind = type(default)

        def parse(raw: str) -> E:
            try:
                return kind(raw.lower())
            except ValueError:
                raise ValueError(f"use one of {', '.join(str(choice.value) for choice in kind)}") from None

        return self._read(name, default, parse)

    def words(self, name: str, default: tuple[str, ...] = (), *, secret: bool = False) -> tuple[str, ...]:
        """Read a comma-separated list. Blanks around the words are removed, and empty words are dropped."""
        return self._read(name, default, _split, secret=secret)

    def parsed(self, name: str, default: str, parse: Callable[[str], T], *, secret: bool = False) -> T:
        """Read a text with `parse`, which raises `ValueError` with a message that says what to write instead."""
        try:
            parsed_default = parse(default)
        except ValueError as error:
            raise AssertionError(f"the default of {name} is bad: {error}") from error
        return self._read(name, parsed_default, parse, secret=secret)

    def profile(self, name: str, profiles: Sequence[str]) -> str:
        """Return the profile that the setting `name` chooses.

        If it isn't set: `rollback` if `ROLLBACK_VARIABLES` all have their values, else `NO_PROFILE`.
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
        """Report a bad value, for a reason that `parse` can't know."""
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
    """Return the numbers of the lines of a `.env` file that would otherwise be dropped silently."""
    lines = enumerate(text.splitlines(), start=1)
    return [number for number, line in lines if line.strip() and not ENV_LINE.match(line)]


def _split(raw: str) -> tuple[str, ...]:
    return tuple(word for part in raw.split(",") if (word := part.strip()))


URL_EXAMPLE = "use URLs such as https://es.example.org:9200, separated by commas"


HASH_HINT = "a URL has a # in it: write it as %23, in a password too"


def parse_node_urls(raw: str) -> NodeUrls:
    """Parse one or more comma-separated http(s) URLs, with or without credentials.

    Raise `ValueError` for anything else; its message says what to write.
    """
    urls: list[str] = []
    credentials: set[tuple[str, str]] = set()
    if "#" in raw:
        raise ValueError(HASH_HINT)
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
        if parts.query:
            raise ValueError("a URL here has no query")
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


POSTGRESQL_OPTIONS = {"connect_timeout": 2, "options": "-c lock_timeout=10s -c statement_timeout=30s"}
"""Two seconds are the shortest connect timeout that libpq supports. The publication of ten thousand indices holds its
locks for a few seconds.
"""
REMEMBERING = {f"django.db.backends.{name}": f"esassistant.database.{name}" for name in ("postgresql", "sqlite3")}
DATABASE_HINT = "use a URL such as postgres://user:password@host:5432/name or sqlite:////var/lib/db.sqlite3"


def parse_database_url(url: str) -> dict[str, Any]:
    """Return Django's settings for a database. Raise `ValueError` if the URL can't be used; its message says what to
    write.
    """
    if url.startswith("sqlite:") and not url.startswith(("sqlite:///", "sqlite://:memory:")):
        # The rest of the URL would be ignored, with a warning that shows it, even a password.
        raise ValueError("a SQLite URL is a path and nothing else: sqlite:////var/lib/db.sqlite3")
    if "#" in url:
        raise ValueError(HASH_HINT)
    if url.partition(":")[0] not in environ.Env.DB_SCHEMES:  # for these, environ would only warn, and show the password
        raise ValueError(DATABASE_HINT)
    try:
        database: dict[str, Any] = environ.Env.db_url_config(url)
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad)
        raise ValueError(DATABASE_HINT) from None
    if not database.get("ENGINE", "").startswith("django.db.backends.") or not database.get("NAME"):
        raise ValueError(DATABASE_HINT)
    if database["ENGINE"].endswith("postgresql"):
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError("PostgreSQL needs its driver: pip install 'esassistant[postgres]', or 'psycopg[binary]'")
        database["OPTIONS"] = {**POSTGRESQL_OPTIONS, **database.get("OPTIONS", {})}
    if database["ENGINE"].endswith("sqlite3"):
        # Writers queue for the lock at BEGIN instead of failing at the first write of a transaction that began by
        # reading.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    return database


def remembering_outages(database: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with our own database engine, which remembers that connecting has failed."""
    return {**database, "ENGINE": REMEMBERING.get(database["ENGINE"], database["ENGINE"])}


def check_redis_url(url: str) -> str:
    """Return the URL if it is empty or one of Redis. Raise `ValueError` for any other URL; its message says what to
    write.
    """
    if "#" in url:
        raise ValueError(HASH_HINT)
    try:
        options = parse_redis_url(url) if url else {"host": ""}
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad)
        options = {}
    if not options.keys() & {"host", "path"}:
        raise ValueError("use a URL such as redis://:password@host:6379/0, rediss://… or unix:///run/redis.sock")
    return url


PROFILES = Path(__file__).resolve().parent / "profiles"
OWN_PROFILES = "profiles"
"""The folder of the operator's own profiles, in the home of the installation."""
SERVICE_ALONE = frozenset(
    {
        *("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL"),
        *("ESASSISTANT_HOME", "ESASSISTANT_HTTPS", "ESASSISTANT_HSTS_SECONDS", "ESASSISTANT_CORS_ORIGINS"),
    }
)
"""Settings that only our own server has. A project that embeds this service uses Django's own settings instead."""


def read(environment: Mapping[str, str], base_dir: Path, *, django: bool = False) -> tuple[Config, dict[str, Setting]]:
    """Read all settings.

    Args:
        environment: The environment of the process.
        base_dir: The folder of `.env`, of the operator's own profiles and of the SQLite file.
        django: Also read what settings.py passes on to Django (`SERVICE_ALONE`). A project that embeds this service has
            its own settings for that.

    Returns:
        The values for the Django settings `ESASSISTANT` and `ESASSISTANT_SETTINGS`: the configuration that this
        project's code uses, and each setting by its name.

    Raises:
        BadSettings: Some values can't be used; it names every one.
    """
    reader = Reader([(Origin.ENVIRONMENT, environment)])
    if django:
        reader.text("ESASSISTANT_HOME", str(base_dir))
    note = read_note(base_dir)
    _add_files(reader, base_dir, note)
    if django:
        _read_django(reader, base_dir)
    config = _read_config(reader, note, base_dir, django=django)
    known, elsewhere = reader.settings.keys(), frozenset() if django else SERVICE_ALONE
    for name, wrong in wrong_in_file(reader.names_in(Origin.FILE, Origin.PROFILE), known, elsewhere):
        reader.refuse(name, wrong)
    reader.finish()
    return replace(config, unknown_names=wrong_in_environment(environment, known, elsewhere)), reader.settings


def _add_files(reader: Reader, base_dir: Path, note: RunNote | None) -> None:
    path = base_dir / reader.text("ESASSISTANT_ENV_FILE", ".env")
    if path.exists():
        reader.fall_back_on_file(Origin.FILE, path)
    elif reader.settings["ESASSISTANT_ENV_FILE"].origin is not Origin.DEFAULT:
        reader.refuse("ESASSISTANT_ENV_FILE", "names no file that exists")
    if note is not None:
        reader.fall_back_on(Origin.RUN, {"ELASTICSEARCH_URL": note.url})
    profiles = {file.stem: file for file in sorted(PROFILES.glob("*.env"))}
    for file in sorted((base_dir / OWN_PROFILES).glob("*.env")):
        if file.stem in (NO_PROFILE, *profiles):
            reader.refuse("ESASSISTANT_PROFILE", f"{file} has the name of a profile that comes with this service")
        profiles.setdefault(file.stem, file)
    profile = reader.profile("ESASSISTANT_PROFILE", tuple(profiles))
    if profile != NO_PROFILE:
        reader.fall_back_on_file(Origin.PROFILE, profiles[profile])


def _read_django(reader: Reader, base_dir: Path) -> None:
    """Read the settings that settings.py passes on to Django."""
    debug = reader.boolean("DEBUG", default=False)
    if not reader.text("SECRET_KEY", secret=True) and not debug:
        reader.refuse("SECRET_KEY", "is missing; set a long random text (with DEBUG=true one is made up at each start)")
    reader.words("ALLOWED_HOSTS")
    reader.words("CSRF_TRUSTED_ORIGINS")
    reader.parsed("DATABASE_URL", f"sqlite:///{base_dir / 'esassistant.sqlite3'}", parse_database_url, secret=True)
    # Off by default: with it on, nobody could log in over plain HTTP. `manage.py check --deploy` warns while it is off.
    reader.boolean("ESASSISTANT_HTTPS", default=False)
    reader.integer("ESASSISTANT_HSTS_SECONDS", 3600, minimum=0, maximum=63_072_000)


def _read_config(reader: Reader, note: RunNote | None, base_dir: Path, *, django: bool) -> Config:
    debug = django and reader.settings["DEBUG"].value
    api_tokens = reader.words("ESASSISTANT_API_TOKENS", secret=True)
    tokens_file, scoped_tokens = _read_file(
        reader, "ESASSISTANT_TOKENS_FILE", base_dir, partial(load_tokens, api_tokens=api_tokens)
    )
    webhooks_file, webhook_targets = _read_file(reader, "ESASSISTANT_WEBHOOKS", base_dir, load_targets)
    config = Config(
        elasticsearch=_read_elasticsearch(reader, note),
        mapping_cache=_read_mapping_cache(reader),
        health=HealthConfig(
            ttl=reader.seconds("HEALTH_CACHE_TTL", 30, minimum=0.1, maximum=3600),
            timeout=reader.seconds("HEALTH_TIMEOUT", 5, minimum=0.1, maximum=300),
        ),
        api_tokens=api_tokens,
        tokens_file=tokens_file,
        scoped_tokens=scoped_tokens,
        details=reader.choice("ESASSISTANT_DETAILS", Details.ALWAYS if debug else Details.AUTHORIZED),
        cors_origins=reader.words("ESASSISTANT_CORS_ORIGINS") if django else (),
        redis_url=reader.parsed("REDIS_URL", "", check_redis_url, secret=True),
        search_scripts=reader.boolean("ESASSISTANT_SEARCH_SCRIPTS", default=False),
        search_max_bytes=reader.integer(
            "ESASSISTANT_SEARCH_MAX_BYTES", 64_000_000, minimum=1_000_000, maximum=MOST_CACHE_BYTES
        ),
        field_values=FieldValuesConfig(
            families=reader.words("ESASSISTANT_FIELD_VALUES"),
            private=reader.words("ESASSISTANT_FIELD_VALUES_PRIVATE"),
            calls_per_minute=reader.integer("ESASSISTANT_VALUE_CALLS_PER_MINUTE", 6, minimum=1, maximum=60),
        ),
        hot_path=reader.boolean("ESASSISTANT_HOT_PATH", default=True),
        mcp=reader.boolean("ESASSISTANT_MCP", default=False),
        access_log=reader.boolean("ESASSISTANT_ACCESS_LOG", default=False),
        max_body_bytes=reader.integer("ESASSISTANT_MAX_BODY_BYTES", 65_536, minimum=1024, maximum=16_777_216),
        max_in_flight=reader.integer("ESASSISTANT_MAX_IN_FLIGHT", 2000, minimum=1, maximum=1_000_000),
        max_connections=reader.integer("ESASSISTANT_MAX_CONNECTIONS", 4000, minimum=1, maximum=1_000_000),
        drain_seconds=reader.seconds("ESASSISTANT_DRAIN_SECONDS", 5, minimum=0, maximum=600),
        webhooks_file=webhooks_file,
        webhook_targets=webhook_targets,
    )
    if config.mcp and importlib.util.find_spec("mcp") is None:
        reader.refuse(
            "ESASSISTANT_MCP",
            "needs the package mcp: pip install 'esassistant[mcp]' (in a checkout: pip "
            "install -r requirements-mcp.txt), or set it to false",
        )
    if config.health.timeout > config.health.ttl:
        reader.refuse(
            "HEALTH_TIMEOUT", "must not be above HEALTH_CACHE_TTL, or a round of checks would outlive its report"
        )
    if any(len(token) < 16 or not token.isascii() or not token.isprintable() for token in config.api_tokens):
        reader.refuse(
            "ESASSISTANT_API_TOKENS",
            "has a token that is not plain ASCII of at least 16 characters; make one by `openssl rand -hex 32`",
        )
    return config


def _read_file(
    reader: Reader, setting: str, base_dir: Path, load: Callable[[Path], tuple[T, ...]]
) -> tuple[str, tuple[T, ...]]:
    """Return the path of a file of entries, and its entries. Both are empty if the setting isn't set."""
    name = reader.text(setting)
    if not name:
        return "", ()
    path = base_dir / name
    try:
        return str(path), load(path)
    except BadFile as error:
        reader.refuse(setting, f"{path} {error}")
        return str(path), ()


def _read_elasticsearch(reader: Reader, note: RunNote | None) -> ElasticsearchConfig:
    nodes = reader.parsed("ELASTICSEARCH_URL", "http://127.0.0.1:9200", parse_node_urls, secret=True)
    no_node = ""
    if note is not None and reader.settings["ELASTICSEARCH_URL"].origin is Origin.DEFAULT:
        # The default isn't used here: another cluster may listen at port 9200, and its mappings would be published into
        # our store.
        nodes, no_node = NodeUrls(()), note.problem
        reader.settings["ELASTICSEARCH_URL"] = replace(
            reader.settings["ELASTICSEARCH_URL"], value=nodes, origin=Origin.RUN
        )
    username = reader.text("ELASTICSEARCH_USERNAME")
    password = reader.text("ELASTICSEARCH_PASSWORD", secret=True)
    api_key = reader.text("ELASTICSEARCH_API_KEY", secret=True)
    if nodes.username and username:
        reader.refuse(
            "ELASTICSEARCH_USERNAME", "is set while ELASTICSEARCH_URL has credentials in it; use one of the two"
        )
    if api_key and (username or nodes.username):
        reader.refuse("ELASTICSEARCH_API_KEY", "is set beside a user name; use one of the two")
    if bool(username) != bool(password):
        reader.refuse("ELASTICSEARCH_USERNAME", "needs ELASTICSEARCH_PASSWORD, and the other way round")
    pool_maxsize = reader.integer("ELASTICSEARCH_POOL_MAXSIZE", 50, minimum=1, maximum=LARGEST_POOL)
    return ElasticsearchConfig(
        urls=nodes.urls,
        api_key=api_key,
        username=username or nodes.username,
        password=password or nodes.password,
        ca_certs=_read_ca_certs(reader),
        verify_certs=reader.boolean("ELASTICSEARCH_VERIFY_CERTS", default=True),
        pool_block=reader.boolean("ELASTICSEARCH_POOL_BLOCK", default=False),
        pool_overflow=reader.integer("ELASTICSEARCH_POOL_OVERFLOW", 50, minimum=0, maximum=LARGEST_POOL),
        pools=with_default_pool(reader.parsed("ELASTICSEARCH_POOLS", "", parse_pools), pool_maxsize),
        request_timeout=reader.seconds("ELASTICSEARCH_REQUEST_TIMEOUT", 30, minimum=0.1, maximum=3600),
        connect_timeout=reader.seconds("ELASTICSEARCH_CONNECT_TIMEOUT", 10, minimum=0.1, maximum=3600),
        max_retries=reader.integer("ELASTICSEARCH_MAX_RETRIES", 3, minimum=0, maximum=20),
        no_node=no_node,
    )


def _read_ca_certs(reader: Reader) -> str:
    ca_certs = reader.text("ELASTICSEARCH_CA_CERTS")
    if ca_certs and not Path(ca_certs).exists():
        reader.refuse("ELASTICSEARCH_CA_CERTS", "names no file or folder that exists")
    elif ca_certs and Path(ca_certs).is_file():
        try:
            ssl.create_default_context(cafile=ca_certs)
        except (ssl.SSLError, OSError):
            reader.refuse("ELASTICSEARCH_CA_CERTS", "names a file that has no certificates in PEM form")
    return ca_certs


def _read_mapping_cache(reader: Reader) -> MappingCacheConfig:
    return MappingCacheConfig(
        ttl=reader.seconds("MAPPING_CACHE_TTL", 300, minimum=0.1),
        negative_ttl=reader.seconds("MAPPING_CACHE_NEGATIVE_TTL", 5, minimum=0, maximum=LONGEST_NEGATIVE_TTL_SECONDS),
        max_bytes=reader.integer("MAPPING_CACHE_MAX_BYTES", 268_435_456, minimum=1_000_000, maximum=MOST_CACHE_BYTES),
        max_stale=reader.seconds("MAPPING_CACHE_MAX_STALE", 86_400, minimum=0),
        batch_size=reader.integer("MAPPING_CACHE_BATCH_SIZE", 5, minimum=1, maximum=1000),
        fetch_timeout=reader.seconds("MAPPING_CACHE_FETCH_TIMEOUT", 15, minimum=0.1, maximum=3600),
        indices_timeout=reader.seconds("ELASTICSEARCH_INDICES_TIMEOUT", 10, minimum=0.1, maximum=3600),
        min_refresh_interval=reader.seconds("MIN_REFRESH_INTERVAL", 60, minimum=0),
        refresh_interval=reader.seconds("MAPPING_CACHE_REFRESH_INTERVAL", 240, minimum=0),
        watch=reader.boolean("MAPPING_CACHE_WATCH", default=True),
        adaptive=reader.boolean("MAPPING_CACHE_ADAPTIVE", default=True),
        include=reader.words("MAPPING_CACHE_INCLUDE", ("*",)),
        exclude=reader.words("MAPPING_CACHE_EXCLUDE"),
        predict=reader.choice("MAPPING_CACHE_PREDICT", Predict.RULE),
    )
