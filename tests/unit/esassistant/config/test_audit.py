"""The audit finds what contradicts, does nothing or is dangerous, and is silent otherwise."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.conf import settings as configured
from django.core import checks

from esassistant.config.audit import RULES, Finding, Level, audit
from esassistant.config.checks import check_deployed_settings, check_settings
from esassistant.config.model import Config, Details, Origin, Setting
from esassistant.config.pools import PoolRule
from tests.support.settings import GOOD, run

CLUSTER = "https://es.example.org:443"
PLAIN = "http://es.example.org:9200"


@dataclass(frozen=True)
class Case:
    """A plain production configuration with changes, and the numbers of the rules that fire."""

    found: str
    cache: Mapping[str, Any] = field(default_factory=dict)
    elasticsearch: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    debug: bool = False
    hosts: tuple[str, ...] = ("assistant.example.org",)
    deployed: bool = False

    def audited(self) -> tuple[Finding, ...]:
        settings = {
            name: replace(known, origin=Origin.DEFAULT) for name, known in configured.ESASSISTANT_SETTINGS.items()
        }
        return audit(self._config(), {**settings, **self.settings}, self.debug, self.hosts, deployed=self.deployed)

    def _config(self) -> Config:
        config: Config = configured.ESASSISTANT
        plain = {
            "urls": (CLUSTER,),
            "api_key": "",
            "username": "",
            "password": "",
            "ca_certs": "",
            "verify_certs": True,
        }
        return replace(
            config,
            elasticsearch=replace(config.elasticsearch, **{**plain, **self.elasticsearch}),
            mapping_cache=replace(config.mapping_cache, **self.cache),
            **{"api_tokens": ("test-token-0123456789",), "drain_seconds": 5.0, **self.service},
        )


LONG_KEY = "7Jx-only-for-tests-9fQ2mZ4vB8nL1cW6tR3yK5hD0sA_pE-u"


def given(name: str, value: Any = None, origin: Origin = Origin.ENVIRONMENT) -> dict[str, Setting]:
    return {name: Setting(name, value, None, origin, secret=False)}


def profile(name: str, origin: Origin = Origin.ENVIRONMENT) -> dict[str, Setting]:
    return given("ESASSISTANT_PROFILE", name, origin)


LOGS_POOL = (PoolRule("logs", ("logs-*",), 5),)
DEFAULT_POOL = (PoolRule("default", ("*",), 5),)

HTTPS = given("ESASSISTANT_HTTPS", True)
CASES = [
    Case(""),
    Case("", debug=True, hosts=()),
    Case("", debug=True, hosts=("localhost", "127.0.0.1", "[::1]", "10.1.2.3", ".localhost", "app.localhost")),
    Case("E001", debug=True, hosts=("localhost", "assistant.example.org")),
    Case("E001", debug=True, hosts=("*",)),
    Case("E001", debug=True, hosts=("8.8.8.8",)),
    Case("", cache={"ttl": 240.1, "refresh_interval": 240}),
    Case("W001", cache={"ttl": 240, "refresh_interval": 240}),
    Case("W001", cache={"ttl": 1, "max_stale": 240, "refresh_interval": 240}),
    Case("W002", cache={"ttl": 40, "max_stale": 200, "refresh_interval": 240}),
    Case("W002", cache={"ttl": 240, "max_stale": 0, "refresh_interval": 240}),
    Case("", cache={"ttl": 300, "max_stale": 0, "refresh_interval": 240}),
    Case("W003", cache={"refresh_interval": 0, "ttl": 300, "min_refresh_interval": 299}),
    Case("W003 W004", cache={"refresh_interval": 0, "ttl": 300, "min_refresh_interval": 300}),
    Case("", cache={"ttl": 300, "refresh_interval": 240, "min_refresh_interval": 900}),
    Case("", elasticsearch={"connect_timeout": 60}),
    Case("", elasticsearch={"connect_timeout": 29.9}, settings=given("ELASTICSEARCH_CONNECT_TIMEOUT")),
    Case("W005", elasticsearch={"connect_timeout": 30}, settings=given("ELASTICSEARCH_CONNECT_TIMEOUT")),
    Case(
        "",
        elasticsearch={"connect_timeout": 30},
        cache={"fetch_timeout": 31},
        settings=given("ELASTICSEARCH_CONNECT_TIMEOUT"),
    ),
    Case(
        "", elasticsearch={"connect_timeout": 30, "pool_block": True}, settings=given("ELASTICSEARCH_CONNECT_TIMEOUT")
    ),
    Case("W006", elasticsearch={"verify_certs": False}, settings=given("ELASTICSEARCH_VERIFY_CERTS")),
    Case("", elasticsearch={"ca_certs": "/ca.pem"}, settings=given("ELASTICSEARCH_CA_CERTS")),
    Case("W007", elasticsearch={"urls": (PLAIN,)}, settings=given("ELASTICSEARCH_CA_CERTS")),
    Case(
        "W007",
        elasticsearch={"urls": (PLAIN,), "verify_certs": False},
        settings=given("ELASTICSEARCH_VERIFY_CERTS") | given("ELASTICSEARCH_CA_CERTS"),
    ),
    Case("W006 W008", elasticsearch={"verify_certs": False, "ca_certs": "/ca.pem"}),
    Case("", elasticsearch={"api_key": "key"}),
    Case("", elasticsearch={"urls": (PLAIN,)}),
    Case("", elasticsearch={"urls": ("http://127.0.0.2:9200", "http://localhost:9200"), "api_key": "key"}),
    Case("", elasticsearch={"urls": ("http://[::1]:9200",), "username": "elastic"}),
    Case("W009", elasticsearch={"urls": ("http://localhost:9200", PLAIN), "api_key": "key"}),
    Case("W009", elasticsearch={"urls": ("http://10.0.0.1:9200",), "username": "elastic"}),
    Case("", service={"drain_seconds": 60.0}),
    Case("W010", service={"drain_seconds": 60.1}),
    Case("W011", service={"api_tokens": ()}),
    Case("", service={"api_tokens": (), "tokens_file": "/t", "details": Details.AUTHORIZED}),
    Case("W017", service={"tokens_file": "/t", "details": Details.ALWAYS}),
    Case("", service={"tokens_file": "/t", "details": Details.AUTHORIZED}),
    Case("W012", hosts=()),
    Case("", settings=profile("none")),
    Case("W013", settings=profile("high-traffic")),
    Case("", settings=profile("rollback", Origin.IMPLIED)),
    Case("W014", settings=given("ESASSISTANT_HSTS_SECONDS", 60)),
    Case("", settings=given("ESASSISTANT_HSTS_SECONDS", 60) | given("ESASSISTANT_HTTPS", True)),
    Case("", settings=given("ELASTICSEARCH_POOL_OVERFLOW", 5)),
    Case("", elasticsearch={"pool_block": True}),
    Case("W015", elasticsearch={"pool_block": True}, settings=given("ELASTICSEARCH_POOL_OVERFLOW", 5)),
    Case("", settings=given("ELASTICSEARCH_POOL_MAXSIZE", 5) | given("ELASTICSEARCH_POOLS", LOGS_POOL)),
    Case("", settings=given("ELASTICSEARCH_POOLS", DEFAULT_POOL)),
    Case("W016", settings=given("ELASTICSEARCH_POOL_MAXSIZE", 5) | given("ELASTICSEARCH_POOLS", DEFAULT_POOL)),
    Case("", settings=profile("rollback") | given("MAPPING_CACHE_MAX_STALE", 0, Origin.PROFILE)),
    Case("", deployed=True, settings=HTTPS | given("SECRET_KEY", LONG_KEY)),
    Case("W019", deployed=True, settings=given("SECRET_KEY", LONG_KEY)),
    Case("W020", deployed=True, settings=HTTPS | given("SECRET_KEY", LONG_KEY) | given("ESASSISTANT_HSTS_SECONDS", 0)),
    Case("W021", deployed=True, settings=HTTPS | given("SECRET_KEY", LONG_KEY[:49])),
    Case("W021", deployed=True, settings=HTTPS | given("SECRET_KEY", "abcd" * 20)),
    Case("W021", deployed=True, settings=HTTPS | given("SECRET_KEY", None)),
    Case("W022", service={"unknown_names": ("MAPPING_CACHE_TLL has no effect.",)}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.found or "nothing")
def test_what_is_found(case: Case) -> None:
    """Each case gives exactly its findings: a rule fires from its boundary on, and no other does."""
    assert " ".join(finding.id.removeprefix("esassistant.") for finding in case.audited()) == case.found


def test_every_rule_is_seen_to_fire() -> None:
    """No rule is without a case above."""
    assert {rule.id for rule in RULES} == {f"esassistant.{number}" for case in CASES for number in case.found.split()}


def test_a_finding_says_what_and_how() -> None:
    """A finding names the settings, their values in force and the remedy."""
    [found] = Case("", cache={"ttl": 120, "refresh_interval": 600}).audited()
    assert (found.level, found.settings) == (Level.WARNING, ("MAPPING_CACHE_TTL", "MAPPING_CACHE_REFRESH_INTERVAL"))
    assert "after 120 s" in found.message
    assert "600 s" in found.message
    assert found.hint == "Set MAPPING_CACHE_TTL above MAPPING_CACHE_REFRESH_INTERVAL."


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("ELASTICSEARCH_CA_CERTS",), "ELASTICSEARCH_CA_CERTS has no effect"),
        (
            ("ELASTICSEARCH_CA_CERTS", "ELASTICSEARCH_VERIFY_CERTS"),
            "CA_CERTS and ELASTICSEARCH_VERIFY_CERTS have no effect",
        ),
    ],
)
def test_only_what_was_set_is_called_ineffective(names: tuple[str, ...], wanted: str) -> None:
    """Of two settings for certificates the message names those that somebody set."""
    settings = {name: setting for one in names for name, setting in given(one).items()}
    [found] = Case("", elasticsearch={"urls": (PLAIN,)}, settings=settings).audited()
    assert wanted in found.message


def test_findings_are_system_checks(settings: Any) -> None:
    """Django's checks report the findings for the settings in force, with level, hint and id."""
    assert check_settings in checks.registry.registry.get_checks()
    assert check_settings(None) == []
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=())
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["assistant.example.org"]
    error, warning = check_settings(None)
    assert (error.id, error.level) == ("esassistant.E001", checks.ERROR)
    assert (warning.id, warning.level) == ("esassistant.W011", checks.WARNING)
    assert warning.hint is not None
    assert "openssl" in warning.hint


def test_findings_of_a_deployment(settings: Any) -> None:
    """`check --deploy` alone reports what is fine on a developer's own machine, and takes the place of nothing else."""
    assert check_deployed_settings not in checks.registry.registry.get_checks()
    assert check_deployed_settings in checks.registry.registry.get_checks(include_deployment_checks=True)
    found = {warning.id for warning in check_deployed_settings(None)}
    assert {"esassistant.W019", "esassistant.W021"} <= found
    settings.DEBUG = True
    assert not found & {warning.id for warning in check_settings(None)}


def test_the_deployment_check_speaks_of_our_settings() -> None:
    """Of what follows from settings of ours `check --deploy` names these, not the settings that Django has for it."""
    checked = run("manage.py", "check", "--deploy", **GOOD)
    assert {"esassistant.W019", "esassistant.W021"} <= set(re.findall(r"\((\S+)\)", checked.stderr))
    for named in ("ESASSISTANT_HTTPS=true", "Set SECRET_KEY"):
        assert named in checked.stderr
    for django in ("SECURE_", "_COOKIE_SECURE", "security."):
        assert django not in checked.stderr
    assert "esassistant.W019" not in run("manage.py", "check", **GOOD).stderr


def test_an_error_stops_commands_and_a_warning_does_not() -> None:
    """A warning is printed and the command runs; an error ends it, but not the one that shows the settings."""
    warned = run("manage.py", "check", **GOOD)
    assert (warned.returncode, "esassistant.W011" in warned.stderr) == (0, True)
    dangerous = {**GOOD, "DEBUG": "true", "ALLOWED_HOSTS": "assistant.example.org"}
    stopped = run("manage.py", "check", **dangerous)
    assert (stopped.returncode, "esassistant.E001" in stopped.stderr) == (1, True)
    assert run("manage.py", "config", **dangerous).returncode == 0
