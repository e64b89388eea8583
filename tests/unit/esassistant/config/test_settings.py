"""Django's settings, loaded as a process loads them: from its environment and a file."""

import os
from pathlib import Path

import pytest

from tests.support.settings import GOOD, load, refused, run

SECRET = "hunter2"


def test_defaults() -> None:
    """With nothing set but the secret key, the documented defaults are in force."""
    loaded = load(**GOOD)
    elasticsearch, cache = loaded["config"]["elasticsearch"], loaded["config"]["mapping_cache"]
    assert elasticsearch["urls"] == ["http://127.0.0.1:9200"]
    assert (elasticsearch["pools"], elasticsearch["max_retries"], elasticsearch["verify_certs"]) == (
        [{"name": "default", "patterns": ["*"], "maxsize": 50}],
        3,
        True,
    )
    assert (elasticsearch["request_timeout"], elasticsearch["connect_timeout"]) == (30, 10)
    assert (cache["batch_size"], cache["min_refresh_interval"]) == (5, 60)
    assert (cache["fetch_timeout"], cache["indices_timeout"]) == (15, 10)
    assert loaded["config"]["health"] == {"ttl": 30, "timeout": 5}
    assert (loaded["debug"], loaded["hosts"]) == (False, [])
    assert {name for name, origin in loaded["origins"].items() if origin != "default"} == set(GOOD)


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each value comes from the strongest place that has one, and the place is remembered."""
    file = tmp_path / "settings.env"
    file.write_text("SECRET_KEY=from-file\nHEALTH_TIMEOUT=7\nHEALTH_CACHE_TTL=70\n")
    loaded = load(ESASSISTANT_ENV_FILE=str(file), HEALTH_TIMEOUT="9")
    assert (loaded["secret_key"], loaded["config"]["health"]) == ("from-file", {"ttl": 70, "timeout": 9})
    origins = [loaded["origins"][name] for name in ("HEALTH_TIMEOUT", "HEALTH_CACHE_TTL", "MIN_REFRESH_INTERVAL")]
    assert origins == ["environment", "file", "default"]


def test_a_good_environment_passes_the_checks() -> None:
    """`manage.py check` is content, and credentials inside the URL are moved out of it."""
    environment = GOOD | {"ELASTICSEARCH_URL": f"https://elastic:{SECRET}@es:9243", "ALLOWED_HOSTS": "a.org, b.org"}
    assert run("manage.py", "check", **environment).returncode == 0
    loaded = load(**environment)
    elasticsearch = loaded["config"]["elasticsearch"]
    assert elasticsearch["urls"] == ["https://es:9243"]
    assert (elasticsearch["username"], elasticsearch["password"]) == ("elastic", SECRET)
    assert loaded["hosts"] == ["a.org", "b.org"]


def test_debug_makes_up_a_secret_key() -> None:
    """Trying things out needs no secret key; each start makes up another."""
    environment = {"DEBUG": "true", "ESASSISTANT_ENV_FILE": os.devnull}
    first, second = load(**environment), load(**environment)
    assert len(first["secret_key"]) >= 50
    assert first["secret_key"] != second["secret_key"]


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:////tmp/some.sqlite3", "esassistant.database.sqlite3", "/tmp/some.sqlite3"),  # noqa: S108
        ("postgres://user:password@db:5432/assistant", "esassistant.database.postgresql", "assistant"),
    ],
)
def test_database(url: str, engine: str, name: str) -> None:
    """SQLite is opened so that writers queue; other databases get no options that they don't know."""
    database = load(**GOOD, DATABASE_URL=url)["database"]
    assert (database["ENGINE"], database["NAME"], database["CONN_MAX_AGE"]) == (engine, name, 0)
    mode = database.get("OPTIONS", {}).get("transaction_mode")
    assert mode == ("IMMEDIATE" if "sqlite" in engine else None)


@pytest.mark.parametrize("url", ["mongodb://h/x", "nonsense", "ldap://u:p@h/x", "sqlite3:////x"])
def test_a_database_that_django_does_not_know(url: str) -> None:
    """One line that says what to write, and nothing of whatever took the URL apart."""
    message = refused(DATABASE_URL=url)
    [line] = message.splitlines()[1:]
    assert line.startswith("  - DATABASE_URL: got a value that is not shown; use a URL such as postgres://")


def test_one_message_names_all_bad_settings() -> None:
    """A start with several bad settings ends with one message that names each, without traceback or secret."""
    bad = {
        "DEBUG": "perhaps",
        "SECRET_KEY": "",
        "ELASTICSEARCH_URL": f"ftp://elastic:{SECRET}@es",
        "ELASTICSEARCH_VERIFY_CERTS": "perhaps",
        "ELASTICSEARCH_CA_CERTS": "/no/such/file",
        "ELASTICSEARCH_POOL_MAXSIZE": "0",
        "ELASTICSEARCH_REQUEST_TIMEOUT": "-1",
        "ELASTICSEARCH_MAX_RETRIES": "many",
        "MAPPING_CACHE_BATCH_SIZE": "1.5",
        "MAPPING_CACHE_TTL": "nan",
        "MIN_REFRESH_INTERVAL": "inf",
        "HEALTH_TIMEOUT": "soon",
        "DATABASE_URL": f"nonsense://user:{SECRET}@db",
        "ESASSISTANT_API_TOKENS": "short",
        "ESASSISTANT_DRAIN_SECONDS": "601",
    }
    message = refused(**bad)
    lines = message.splitlines()
    assert lines[0].startswith("These settings can't be used")
    assert sorted(line.removeprefix("  - ").partition(":")[0] for line in lines[1:]) == sorted(bad)
    assert SECRET not in message


def test_a_line_that_cannot_be_read(tmp_path: Path) -> None:
    """A mistyped line of the file stops the start by its number, and its text, maybe a secret, is shown nowhere."""
    file = tmp_path / "settings.env"
    file.write_text(f"SECRET_KEY=only-for-tests\nELASTICSEARCH_PASSWORD: {SECRET}\n")
    message = refused(ESASSISTANT_ENV_FILE=str(file))
    assert "settings.env, line 2" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ELASTICSEARCH_URL": f"http://a:{SECRET}@es", "ELASTICSEARCH_USERNAME": "b"}, "ELASTICSEARCH_USERNAME"),
        ({"ELASTICSEARCH_URL": f"http://a:{SECRET}@es", "ELASTICSEARCH_API_KEY": SECRET}, "ELASTICSEARCH_API_KEY"),
        ({"ELASTICSEARCH_USERNAME": "a"}, "ELASTICSEARCH_USERNAME"),
        ({"ELASTICSEARCH_PASSWORD": SECRET}, "ELASTICSEARCH_PASSWORD"),
    ],
)
def test_settings_that_contradict_each_other(environment: dict[str, str], named: str) -> None:
    """Credentials given twice or by half are refused, by name and without their values."""
    message = refused(**environment)
    assert named in message
    assert SECRET not in message
