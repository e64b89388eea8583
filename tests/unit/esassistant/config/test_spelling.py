"""Names that were meant to be settings: found within two letters, and nobody else's is accused."""

import pytest

from esassistant import settings
from esassistant.config.reader import SERVICE_ALONE
from esassistant.config.spelling import REMOVED, nearest, wrong_in_environment, wrong_in_file

KNOWN = frozenset(settings.ESASSISTANT_SETTINGS)
OTHERS = (
    *("ELASTICSEARCH_PORT", "ELASTICSEARCH_SERVICE_HOST", "ELASTICSEARCH_SERVICE_PORT", "ELASTICSEARCH_PORT_9200_TCP"),
    *("ELASTICSEARCH_PORT_9200_TCP_ADDR", "ESASSISTANT_SERVICE_HOST", "ESASSISTANT_PORT_8000_TCP", "ESASSISTANT_PORT"),
    *("REDIS_PORT", "REDIS_SERVICE_HOST", "REDIS_PASSWORD", "PATH", "HOME", "PORT", "TZ", "LANG", "DB", "DEBIAN"),
)
"""What Kubernetes, Docker, compose and shells put into environments."""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAPPING_CACHE_TLL", "MAPPING_CACHE_TTL"),
        ("MAPPING_CACHE_TLT", "MAPPING_CACHE_TTL"),
        ("ELASTICSEARCH_URLS", "ELASTICSEARCH_URL"),
        ("ELASTICSEARCH_URI", "ELASTICSEARCH_URL"),
        ("ELASTIC_SEARCH_URL", "ELASTICSEARCH_URL"),
        ("ESASSISTANT_API_TOKEN", "ESASSISTANT_API_TOKENS"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("DEBGU", "DEBUG"),
        ("REDIS_URI", "REDIS_URL"),
        ("DBGUE", None),
        ("MAPPING_CACHE_XXX", None),
    ],
)
def test_the_nearest(name: str, meant: str | None) -> None:
    """At most two letters wrong, missing, too many or swapped; one where the name has few."""
    assert nearest(name, KNOWN) == meant


def test_an_environment_of_others() -> None:
    """What others put there is no misspelled setting."""
    assert wrong_in_environment(OTHERS, KNOWN, ()) == ()


def test_an_environment_with_mistakes() -> None:
    """Each is said with what was meant; a removed one with what is in its place."""
    found = wrong_in_environment(["MAPPING_CACHE_TLL", "MAPPING_REFRESH_TIMEOUT", "HEALTH_TIMEOUT"], KNOWN, ())
    assert found == (
        "MAPPING_CACHE_TLL has no effect: did you mean MAPPING_CACHE_TTL?",
        f"MAPPING_REFRESH_TIMEOUT was removed: {REMOVED['MAPPING_REFRESH_TIMEOUT']}.",
    )


def test_a_file_with_mistakes() -> None:
    """What begins as ours do is meant for us, however misspelled; what doesn't, and isn't near, is somebody else's."""
    names = ["HEALTH_TIMEOUT", "POSTGRES_PASSWORD", "ESASSISTANT_TOKENS", "MAPPING_CACHE_TLL", "ESASSISTANT_HOME"]
    assert dict(wrong_in_file([*names, "MAPPING_REFRESH_TIMEOUT"], KNOWN, ())) == {
        "ESASSISTANT_TOKENS": "is no setting; the nearest is ESASSISTANT_API_TOKENS",
        "MAPPING_CACHE_TLL": "is no setting: did you mean MAPPING_CACHE_TTL?",
        "ESASSISTANT_HOME": "is read from the environment alone",
        "MAPPING_REFRESH_TIMEOUT": f"was removed: {REMOVED['MAPPING_REFRESH_TIMEOUT']}",
    }


def test_what_another_project_says_itself() -> None:
    """In a project that embeds this service Django's names are its own; ours that it doesn't read have no effect."""
    known = KNOWN - SERVICE_ALONE
    given = ["SECRET_KEY", "DATABASE_URL", "ESASSISTANT_HTTPS"]
    [sentence] = wrong_in_environment(given, known, SERVICE_ALONE)
    assert sentence.startswith("ESASSISTANT_HTTPS has no effect in a project that embeds this service")
    assert [name for name, _ in wrong_in_file(given, known, SERVICE_ALONE)] == ["ESASSISTANT_HTTPS"]


def test_no_removed_name_is_a_setting() -> None:
    """What is listed as removed is gone."""
    assert not KNOWN & set(REMOVED)
