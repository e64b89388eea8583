"""`manage.py config` shows what is in force and where it comes from, and never a secret."""

import json
import os
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from esassistant import settings as project
from esassistant.config.reader import parse_database_url
from tests.support.settings import GOOD, run

SECRET = "hunter2-hunter2"
SECRETS = {
    "SECRET_KEY": f"key-{SECRET}",
    "ELASTICSEARCH_URL": f"https://elastic:{SECRET}@es.example.org:9243",
    "ESASSISTANT_API_TOKENS": f"one-{SECRET}, two-{SECRET}",
}


def shown(*arguments: str, **environment: str) -> str:
    done = run("manage.py", "config", *arguments, **{**GOOD, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows(*arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(shown("--format", "json", *arguments, **environment))
    return {row.pop("name"): row for row in listed}


def line(output: str, name: str) -> list[str]:
    """The words of the line about one setting, after its name."""
    [words] = [words for words in map(str.split, output.splitlines()) if words[0] == name]
    return words[1:]


def test_every_setting_is_shown() -> None:
    """The table has one line per setting that the code reads, the JSON the same."""
    names = sorted(project.ESASSISTANT_SETTINGS)
    assert [words.split()[0] for words in shown().splitlines()] == ["Setting", *names]
    assert list(rows()) == names


def test_value_origin_and_default(tmp_path: Path) -> None:
    """Each line says the value and where it comes from; the default only where it differs."""
    file = tmp_path / "settings.env"
    file.write_text("SECRET_KEY=x\nHEALTH_TIMEOUT=7.5\nELASTICSEARCH_VERIFY_CERTS=no\nELASTICSEARCH_MAX_RETRIES=3\n")
    environment = {
        "ESASSISTANT_ENV_FILE": str(file),
        "ESASSISTANT_PROFILE": "low-resource",
        "ALLOWED_HOSTS": "a.org,b.org",
    }
    output = shown(**environment)
    assert line(output, "ELASTICSEARCH_POOL_MAXSIZE") == ["20", "50", "profile", "low-resource"]
    assert line(output, "HEALTH_TIMEOUT") == ["7.5", "5", "file"]
    assert line(output, "ELASTICSEARCH_VERIFY_CERTS") == ["false", "true", "file"]
    assert line(output, "ELASTICSEARCH_MAX_RETRIES") == ["3", "file"]
    assert line(output, "ALLOWED_HOSTS") == ["a.org,", "b.org", "not", "set", "environment"]
    assert line(output, "ELASTICSEARCH_CA_CERTS") == ["not", "set", "default"]
    as_json = rows(**environment)
    assert as_json["ELASTICSEARCH_VERIFY_CERTS"] == {"value": False, "origin": "file", "default": True}
    assert as_json["ELASTICSEARCH_POOL_MAXSIZE"] == {"value": 20, "origin": "profile low-resource", "default": 50}
    assert as_json["DEBUG"] == {"value": False, "origin": "default", "default": None}
    assert as_json["ESASSISTANT_DETAILS"]["value"] == "authorized"


def test_changed_leaves_defaults_out() -> None:
    """`--changed` shows only what differs from its default, not what is set to it."""
    changed = rows("--changed", MAPPING_CACHE_BATCH_SIZE="5", MIN_REFRESH_INTERVAL="61")
    assert list(changed) == ["ESASSISTANT_ENV_FILE", "MIN_REFRESH_INTERVAL", "SECRET_KEY"]
    assert changed["ESASSISTANT_ENV_FILE"]["value"] == os.devnull


def test_an_implied_profile_is_called_that() -> None:
    """The three rollback variables alone show as the profile `rollback`, with the reason."""
    environment = {"ELASTICSEARCH_POOL_MAXSIZE": "20", "MAPPING_CACHE_BATCH_SIZE": "1", "MIN_REFRESH_INTERVAL": "0"}
    changed = rows("--changed", **environment)
    assert changed["ESASSISTANT_PROFILE"] == {
        "value": "rollback",
        "origin": f"implied by {', '.join(environment)}",
        "default": "none",
    }
    assert changed["MAPPING_CACHE_MAX_STALE"] == {"value": 0, "origin": "profile rollback", "default": 86_400}


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize(
    "credentials",
    [{}, {"ELASTICSEARCH_URL": "https://es", "ELASTICSEARCH_API_KEY": SECRET}],
    ids=["in the URL", "an API key"],
)
def test_no_secret_is_shown(form: str, credentials: dict[str, str]) -> None:
    """Neither form has any planted secret in it, nor a part of one."""
    output = shown("--format", form, **{**SECRETS, **credentials})
    assert "hunter2" not in output
    assert "elastic:" not in output


def test_of_a_secret_only_that_it_is_set() -> None:
    """A secret shows as set or not set, tokens by their number, a URL without its credentials."""
    masked = {name: row["value"] for name, row in rows(**SECRETS).items()}
    assert (masked["SECRET_KEY"], masked["ELASTICSEARCH_API_KEY"]) == ("set", "not set")
    assert masked["ESASSISTANT_API_TOKENS"] == "2 set"
    assert masked["ELASTICSEARCH_URL"] == "https://es.example.org:9243"


def test_a_database_without_its_credentials(settings: Any) -> None:
    """Of a database that needs a driver, a user and a password, only the address shows."""
    value = parse_database_url(f"postgres://user:{SECRET}@db.example.org:5432/assistant")
    known = settings.ESASSISTANT_SETTINGS
    settings.ESASSISTANT_SETTINGS = known | {"DATABASE_URL": replace(known["DATABASE_URL"], value=value)}
    output = StringIO()
    call_command("config", stdout=output)
    assert line(output.getvalue(), "DATABASE_URL")[0] == "postgresql://db.example.org:5432/assistant"
    assert "hunter2" not in output.getvalue()


def test_help_has_an_example() -> None:
    """`--help` shows how the command is used."""
    assert "manage.py config --changed" in shown("--help")
