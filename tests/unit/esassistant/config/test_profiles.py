"""Profiles: several settings at once, weaker than the environment and the file, stronger than the defaults."""

from pathlib import Path
from typing import Any

import pytest

from esassistant import settings
from esassistant.config.model import ROLLBACK, ROLLBACK_VARIABLES
from tests.support.settings import GOOD, load, refused, run

PROFILES = sorted((Path(settings.BASE_DIR) / "esassistant" / "config" / "profiles").iterdir())
NAMES = [path.stem for path in PROFILES]
ROLLED_BACK = {name: str(value) for name, value in ROLLBACK_VARIABLES.items()}
PRODUCTION = GOOD | {
    "ALLOWED_HOSTS": "assistant.example.org",
    "ELASTICSEARCH_URL": "https://es.example.org",
    "ELASTICSEARCH_API_KEY": "only-for-tests",
    "ESASSISTANT_API_TOKENS": "test-token-0123456789",
}


def variables(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def tuned(loaded: dict[str, Any]) -> tuple[float, float, float, float, float]:
    """Pool, batch, interval, request timeout and hard limit of what was loaded."""
    elasticsearch, cache = loaded["config"]["elasticsearch"], loaded["config"]["mapping_cache"]
    return (
        elasticsearch["pools"][0]["maxsize"],
        cache["batch_size"],
        cache["min_refresh_interval"],
        elasticsearch["request_timeout"],
        cache["max_stale"],
    )


@pytest.mark.parametrize("path", PROFILES, ids=NAMES)
def test_a_profile_sets_only_what_is_read(path: Path) -> None:
    """Each name in a profile is a setting, is set once, and is not the choice of a profile or of a file."""
    names = [line.partition("=")[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    assert set(names) <= set(settings.ESASSISTANT_SETTINGS) - {"ESASSISTANT_PROFILE", "ESASSISTANT_ENV_FILE"}
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("profile", "values"),
    [
        ("none", (50, 5, 60, 30, 86_400)),
        ("high-traffic", (100, 10, 300, 60, 86_400)),
        ("low-resource", (20, 3, 30, 15, 86_400)),
        ("rollback", (20, 1, 0, 30, 0)),
    ],
)
def test_what_each_profile_sets(profile: str, values: tuple[float, ...]) -> None:
    """A chosen profile is in force with all its values, each of which is known to come from it."""
    loaded = load(**GOOD, ESASSISTANT_PROFILE=profile)
    assert tuned(loaded) == values
    from_profile = {name for name, origin in loaded["origins"].items() if origin == "profile"}
    assert from_profile == {name for path in PROFILES if path.stem == profile for name in variables(path)}


def test_environment_beats_file_beats_profile_beats_default(tmp_path: Path) -> None:
    """A file may choose the profile, and overrules its values, as the environment overrules both."""
    file = tmp_path / "settings.env"
    lines = ("SECRET_KEY=x", "ESASSISTANT_PROFILE=high-traffic", "MAPPING_CACHE_BATCH_SIZE=7", "MIN_REFRESH_INTERVAL=7")
    file.write_text("\n".join(lines))
    loaded = load(ESASSISTANT_ENV_FILE=str(file), MIN_REFRESH_INTERVAL="9")
    assert tuned(loaded) == (100, 7, 9, 60, 86_400)
    names = ("MIN_REFRESH_INTERVAL", "MAPPING_CACHE_BATCH_SIZE", "ELASTICSEARCH_POOL_MAXSIZE", "HEALTH_TIMEOUT")
    assert [loaded["origins"][name] for name in names] == ["environment", "file", "profile", "default"]
    assert tuned(load(ESASSISTANT_ENV_FILE=str(file), ESASSISTANT_PROFILE="none")) == (50, 7, 7, 30, 86_400)


def test_the_three_rollback_variables_are_the_profile(tmp_path: Path) -> None:
    """Alone, in the environment or the file, they give the very configuration that the profile gives."""
    wanted = load(**GOOD, ESASSISTANT_PROFILE=ROLLBACK)
    file = tmp_path / "settings.env"
    values = {name: value for name, value in {**GOOD, **ROLLED_BACK}.items() if name != "ESASSISTANT_ENV_FILE"}
    file.write_text("\n".join(f"{name}={value}" for name, value in values.items()))
    for loaded in (load(**GOOD, **ROLLED_BACK), load(ESASSISTANT_ENV_FILE=str(file))):
        assert loaded["config"] == wanted["config"]
        assert loaded["origins"]["ESASSISTANT_PROFILE"] == "implied"
        assert loaded["origins"]["MAPPING_CACHE_MAX_STALE"] == "profile"


@pytest.mark.parametrize("other", [{"ESASSISTANT_PROFILE": "none"}, {"MAPPING_CACHE_BATCH_SIZE": "2"}])
def test_what_is_no_rollback(other: dict[str, str]) -> None:
    """Whoever says that there is no profile, or sets one of the three to another value, gets no rollback."""
    loaded = load(**{**GOOD, **ROLLED_BACK, **other})
    assert loaded["config"]["mapping_cache"]["max_stale"] == 86_400
    assert loaded["origins"]["ESASSISTANT_PROFILE"] != "implied"


def test_an_unknown_profile_is_a_bad_setting() -> None:
    """It stands with the others in the one message, which names the profiles that there are."""
    message = refused(ESASSISTANT_PROFILE="fast", HEALTH_TIMEOUT="soon")
    assert f"ESASSISTANT_PROFILE: got 'fast'; use one of none, {', '.join(NAMES)}" in message
    assert "HEALTH_TIMEOUT" in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in the place of the file stops the start, instead of passing for an empty file."""
    assert "is no regular file" in refused(ESASSISTANT_ENV_FILE=str(tmp_path))


@pytest.mark.parametrize("environment", [*({"ESASSISTANT_PROFILE": name} for name in NAMES), ROLLED_BACK, {}])
def test_the_audit_has_nothing_against_a_profile(environment: dict[str, str]) -> None:
    """With a plain production configuration neither the defaults nor any profile give a finding."""
    checked = run("manage.py", "check", **PRODUCTION, **environment)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no issues" in checked.stdout
