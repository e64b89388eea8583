"""Settings are read from the strongest source, and every bad one is named at once."""

import enum
import importlib.util
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.config import read
from esassistant.config.model import Details, NodeUrls, Origin, Setting
from esassistant.config.reader import (
    POSTGRESQL_OPTIONS,
    SERVICE_ALONE,
    BadSettings,
    Reader,
    bad_lines,
    parse_node_urls,
)
from tests.support.clients import elasticsearch_config
from tests.support.receiver import entry

SECRET = "hunter2-hunter2"


def reader(**values: str) -> Reader:
    return Reader([(Origin.ENVIRONMENT, values)])


def test_the_strongest_source_wins() -> None:
    """The first source that has a value gives it; an empty or blank text counts as not set."""
    read = Reader([(Origin.ENVIRONMENT, {"A": "env", "B": "  "}), (Origin.FILE, {"A": "file", "B": " file ", "C": ""})])
    assert [read.text(name, "default") for name in "ABCD"] == ["env", "file", "default", "default"]
    assert [setting.origin for setting in read.settings.values()] == [
        Origin.ENVIRONMENT,
        Origin.FILE,
        Origin.DEFAULT,
        Origin.DEFAULT,
    ]
    read.finish()


def test_a_source_that_is_added_later_is_the_weakest() -> None:
    """It fills in what the others leave open, from then on."""
    read = reader(A="env")
    read.fall_back_on(Origin.FILE, {"A": "file", "B": "file"})
    read.fall_back_on(Origin.PROFILE, {"A": "profile", "B": "profile", "C": "profile"})
    assert [read.text(name, "default") for name in "ABCD"] == ["env", "file", "profile", "default"]
    assert read.settings["C"].origin is Origin.PROFILE


@pytest.mark.parametrize(
    ("changes", "profile", "origin"),
    [
        ({}, "rollback", Origin.IMPLIED),
        ({"MIN_REFRESH_INTERVAL": "0.0"}, "rollback", Origin.IMPLIED),
        ({"P": " "}, "rollback", Origin.IMPLIED),
        ({"P": "none"}, "none", Origin.ENVIRONMENT),
        ({"P": "Fast"}, "fast", Origin.ENVIRONMENT),
        ({"MIN_REFRESH_INTERVAL": ""}, "none", Origin.DEFAULT),
        ({"MIN_REFRESH_INTERVAL": "1"}, "none", Origin.DEFAULT),
        ({"MIN_REFRESH_INTERVAL": "zero"}, "none", Origin.DEFAULT),
    ],
)
def test_which_profile(changes: dict[str, str], profile: str, origin: Origin) -> None:
    """The chosen profile; without a choice `rollback`, if the three variables have its numbers, all of them."""
    read = reader(
        **{"ELASTICSEARCH_POOL_MAXSIZE": "20", "MAPPING_CACHE_BATCH_SIZE": "1", "MIN_REFRESH_INTERVAL": "0"} | changes
    )
    assert read.profile("P", ["fast", "rollback"]) == profile
    assert read.settings["P"] == Setting("P", profile, "none", origin, secret=False)
    read.finish()


def test_an_unknown_profile() -> None:
    """It is bad, and the message names those that there are; nothing is implied beside it."""
    read = reader(P="slow", ELASTICSEARCH_POOL_MAXSIZE="20", MAPPING_CACHE_BATCH_SIZE="1", MIN_REFRESH_INTERVAL="0")
    assert read.profile("P", ["fast", "rollback"]) == "none"
    assert read.problems == ["P: got 'slow'; use one of none, fast, rollback"]


def test_what_was_read_is_remembered() -> None:
    """Each setting keeps its value, default and origin, for commands that show what is in force."""
    read = reader(A="7")
    assert read.integer("A", 5, minimum=0, maximum=9) == 7
    assert read.settings == {"A": Setting("A", 7, 5, Origin.ENVIRONMENT, secret=False)}


def test_no_repr_shows_a_secret() -> None:
    """Neither a setting, nor the URLs, nor the configuration shows a secret when it is printed."""
    read = reader(A=SECRET)
    read.text("A", secret=True)
    shown = [
        repr(read.settings["A"]),
        repr(parse_node_urls(f"http://user:{SECRET}@es")),
        repr(elasticsearch_config("http://es", api_key=SECRET, password=SECRET)),
    ]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(
    ("raw", "value"), [("true", True), ("1", True), ("YES", True), ("On", True), ("0", False), ("no", False)]
)
def test_booleans(raw: str, value: bool) -> None:
    """The usual words for yes and no are understood in any case, against either default."""
    assert [reader(A=raw).boolean("A", default=default) for default in (True, False)] == [value, value]


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


def test_choices() -> None:
    """One of an enumeration's values is understood in any case; any other gives the default, and the choices are
    named.
    """
    read = reader(A="Large", B="huge")
    assert [read.choice(name, Size.SMALL) for name in "ABC"] == [Size.LARGE, Size.SMALL, Size.SMALL]
    assert read.problems == ["B: got 'huge'; use one of small, large"]


@given(st.integers(-1000, 1000), st.integers(-100, 100), st.integers(-100, 100))
def test_integers_stay_in_bounds(value: int, minimum: int, maximum: int) -> None:
    """A number within the bounds, bounds included, is taken; any other gives the default and is named."""
    read = reader(A=str(value))
    result = read.integer("A", 424_242, minimum=minimum, maximum=maximum)
    accepted = minimum <= value <= maximum
    assert (result, len(read.problems)) == ((value, 0) if accepted else (424_242, 1))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_seconds_stay_in_bounds(value: float) -> None:
    """The same for seconds: neither nan nor infinity gets through."""
    read = reader(A=repr(value))
    result = read.seconds("A", 5, minimum=0.1, maximum=60)
    accepted = 0.1 <= value <= 60
    assert (result, len(read.problems)) == ((value, 0) if accepted else (5, 1))


@given(st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]))))
def test_words(parts: list[str]) -> None:
    """A list is split at commas, without blanks around words and without empty words."""
    words = tuple(part.strip() for part in parts if part.strip())
    assert reader(A=",".join(parts)).words("A", ()) == words


def test_unset_gives_the_default() -> None:
    """Without a value each kind of setting gives its default, as it is."""
    read = reader()
    assert read.boolean("A", default=True) is True
    assert read.integer("B", 5, minimum=10, maximum=20) == 5
    assert read.seconds("C", 0.0, minimum=1) == 0.0
    assert read.words("D", ("x", "y")) == ("x", "y")
    assert read.parsed("E", "7", int) == 7
    assert read.text("F") == ""
    read.finish()


def test_one_message_names_all_bad_values() -> None:
    """The error lists every bad setting with what was given, cut short, and what to write; no good one is in it."""

    def only_empty(raw: str) -> str:
        if raw:
            raise ValueError("leave it empty")
        return raw

    read = reader(A="maybe", B="eleven", C="11", D="soon", E="1e9", F="x" * 200, G="good")
    read.boolean("A", default=False)
    read.integer("B", 5, minimum=0, maximum=10)
    read.integer("C", 5, minimum=0, maximum=10)
    read.seconds("D", 5, minimum=0.5)
    read.seconds("E", 5, minimum=0.5)
    read.parsed("F", "", only_empty)
    read.text("G")
    read.refuse("H", "needs G")
    with pytest.raises(BadSettings) as caught:
        read.finish()
    assert str(caught.value).splitlines()[1:] == [
        "  - A: got 'maybe'; use true or false",
        "  - B: got 'eleven'; use a whole number from 0 to 10",
        "  - C: got '11'; use a whole number from 0 to 10",
        "  - D: got 'soon'; use a number of seconds from 0.5 to 604800",
        "  - E: got '1e9'; use a number of seconds from 0.5 to 604800",
        f"  - F: got '{'x' * 80}'; leave it empty",
        "  - H: needs G",
    ]


def test_a_bad_secret_is_not_shown() -> None:
    """The message about a secret says what to write, never what was written."""
    read = reader(A=f"ftp://user:{SECRET}@es", B=f"http://user:{SECRET}@es:port")
    for name in "AB":
        read.parsed(name, "http://es", parse_node_urls, secret=True)
    with pytest.raises(BadSettings, match="got a value that is not shown; use URLs such as") as caught:
        read.finish()
    assert SECRET not in str(caught.value)


def test_a_bad_default_is_our_own_mistake() -> None:
    """A default that its own parser refuses is found at once, not by the first user without a value."""
    with pytest.raises(AssertionError, match="the default of A is bad"):
        reader(A="1").parsed("A", "one", int)


@pytest.mark.parametrize(
    ("raw", "urls"),
    [
        ("http://es", ("http://es:9200",)),
        ("https://es", ("https://es:443",)),
        ("HTTPS://ES.Example.org:9243/", ("https://es.example.org:9243",)),
        ("http://[::1]:9201", ("http://[::1]:9201",)),
        ("http://proxy/es/", ("http://proxy:9200/es",)),
        (" http://a:1 , http://b:2,", ("http://a:1", "http://b:2")),
    ],
)
def test_node_urls(raw: str, urls: tuple[str, ...]) -> None:
    """URLs come out in one form: scheme and host in lower case, a port always, no slash at the end."""
    assert parse_node_urls(raw) == NodeUrls(urls)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_credentials_move_out_of_the_url(username: str, password: str) -> None:
    """Any percent-encoded credentials are decoded, and none stay in the URL."""
    given_url = f"https://{quote(username, safe='')}:{quote(password, safe='')}@es:9200"
    assert parse_node_urls(f"{given_url},{given_url}") == NodeUrls(("https://es:9200",) * 2, username, password)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "at least one"),
        (" , ", "at least one"),
        ("es:9200", "use URLs such as"),
        ("ftp://es", "use URLs such as"),
        ("http://", "use URLs such as"),
        ("http://es:port", "port"),
        ("http://es:70000", "port"),
        ("http://es?pretty", "no query"),
        ("http://es#top", "%23"),
        ("http://user:pass#word@es:9200", "%23"),
        ("http://a,https://b", "either http or https"),
        ("http://u:p@a,http://b", "same credentials"),
        ("http://u:p@a,http://u:q@b", "same credentials"),
        ("http://[::1", "use URLs such as"),
        ("http://es:0", "port"),
    ],
)
def test_bad_node_urls(raw: str, reason: str) -> None:
    """Each kind of bad URL gets a reason of its own."""
    with pytest.raises(ValueError, match=reason):
        parse_node_urls(raw)


def test_lines_of_a_file_that_cannot_be_read() -> None:
    """Each line that is no setting, comment or empty line is named by its number."""
    good = ["A=1", "", "# a comment", "export B_2=x=y", "C="]
    bad = ["A 1", "A = 1", " A=1", "export", "=1", "A-B=1"]
    assert bad_lines("\n".join(good)) == []
    assert bad_lines("\n".join([*good, *bad])) == [6, 7, 8, 9, 10, 11]


GOOD = {"SECRET_KEY": "only-for-tests"}


def refused(folder: Path, **environment: str) -> str:
    """What `read` says of settings that can't be used."""
    with pytest.raises(BadSettings) as caught:
        read({**GOOD, **environment}, folder, django=True)
    return str(caught.value)


def test_read_gives_both_settings_objects(tmp_path: Path) -> None:
    """The configuration, and each setting with its origin; files are looked for in the folder that is given."""
    (tmp_path / ".env").write_text("HEALTH_TIMEOUT=7\nHEALTH_CACHE_TTL=70\n")
    config, known = read({**GOOD, "HEALTH_TIMEOUT": "6"}, tmp_path, django=True)
    assert (config.health.timeout, config.health.ttl) == (6.0, 70.0)
    assert (known["HEALTH_TIMEOUT"].origin, known["HEALTH_CACHE_TTL"].origin) == (Origin.ENVIRONMENT, Origin.FILE)
    assert known["DATABASE_URL"].value["NAME"] == str(tmp_path / "esassistant.sqlite3")
    assert read({**GOOD, "ESASSISTANT_PROFILE": "rollback"}, tmp_path)[1]["MAPPING_CACHE_BATCH_SIZE"].value == 1


def test_a_file_that_is_named_exists(tmp_path: Path) -> None:
    """`.env` may be missing; a file that a setting names may not."""
    assert "ESASSISTANT_ENV_FILE: names no file" in refused(tmp_path, ESASSISTANT_ENV_FILE="absent.env")
    (tmp_path / "binary.env").write_bytes(b"\xff")
    assert "can't be read (UnicodeDecodeError)" in refused(tmp_path, ESASSISTANT_ENV_FILE="binary.env")
    (tmp_path / "odd.env").write_text("HEALTH_TIMEOUT 7\n")
    assert "odd.env, line 1: is neither NAME=value nor a comment" in refused(tmp_path, ESASSISTANT_ENV_FILE="odd.env")


def test_the_file_of_webhooks(tmp_path: Path) -> None:
    """What it says at the start is in the configuration; a bad one is refused with entry and line."""
    file = tmp_path / "webhooks.toml"
    file.write_text(entry("http://127.0.0.1/", "registry"))
    config, settings = read({"SECRET_KEY": "x", "ESASSISTANT_WEBHOOKS": "webhooks.toml"}, tmp_path)
    assert config.webhooks_file == str(file)
    assert [target.name for target in config.webhook_targets] == ["registry"]
    assert settings["ESASSISTANT_WEBHOOKS"].value == "webhooks.toml"
    file.write_text(entry("http://127.0.0.1/", "registry", allow_networks="[]"))
    with pytest.raises(BadSettings, match=r"target 1 'registry' \(line 1\): allow_networks is a list"):
        read({"SECRET_KEY": "x", "ESASSISTANT_WEBHOOKS": str(file)}, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:relative.sqlite3",
        "nonsense://h/name",
        "postgres://h",
        "mysqlgis://h/name",
        "postgres://h:port/name",
        "postgres://[::1",
        "postgres://user:pass#word@h/name",
    ],
)
def test_databases_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    """A bad DATABASE_URL is refused with what to write, and never shown."""
    said = refused(tmp_path, DATABASE_URL=url)
    assert "DATABASE_URL: got a value that is not shown" in said
    assert url not in said
    assert ("%23" in said) == ("#" in url)


def test_postgresql_needs_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is missing, the refusal says how to install it; with it, connecting has a deadline."""
    url = "postgres://user:secret@h:5432/name"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert (
        read({**GOOD, "DATABASE_URL": url}, tmp_path, django=True)[1]["DATABASE_URL"].value["OPTIONS"]
        == POSTGRESQL_OPTIONS
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'esassistant[postgres]'" in refused(tmp_path, DATABASE_URL=url)


def test_mcp_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, the refusal says how to install it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'esassistant[mcp]'" in refused(tmp_path, ESASSISTANT_MCP="true")


@pytest.mark.parametrize("url", ["http://h/0", "redis://h:port/0", "h", "redis://"])
def test_redis_urls(tmp_path: Path, url: str) -> None:
    """What is no URL of Redis is refused; `redis://` alone means this machine."""
    if url == "redis://":
        assert "REDIS_URL" in refused(tmp_path, REDIS_URL=url)
    else:
        assert "use a URL such as redis://" in refused(tmp_path, REDIS_URL=url)
    assert read({**GOOD, "REDIS_URL": "redis://h/0"}, tmp_path)[0].redis_url == "redis://h/0"


def test_a_redis_url_with_a_hash(tmp_path: Path) -> None:
    """A `#` would end the URL in the midst of the password: the refusal says how to write it, and shows no part."""
    said = refused(tmp_path, REDIS_URL=f"redis://:{SECRET}#x@h:6379/0")
    assert "REDIS_URL" in said
    assert "%23" in said
    assert SECRET not in said
    url = f"redis://:{SECRET}%23x@h:6379/0"
    assert read({**GOOD, "REDIS_URL": url}, tmp_path)[0].redis_url == url


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    """All that is wrong is named at once: values that are fine by themselves, files that are none."""
    (tmp_path / "ca.pem").write_text("no certificate")
    said = refused(
        tmp_path,
        SECRET_KEY="",
        HEALTH_TIMEOUT="40",
        ELASTICSEARCH_URL="http://a:b@h:9200",
        ELASTICSEARCH_USERNAME="c",
        ELASTICSEARCH_API_KEY="key",
        ELASTICSEARCH_CA_CERTS=str(tmp_path / "ca.pem"),
        ESASSISTANT_API_TOKENS="short",
    )
    for name in (
        *("SECRET_KEY", "HEALTH_TIMEOUT", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_CA_CERTS"),
        "ESASSISTANT_API_TOKENS",
    ):
        assert f"- {name}: " in said
    assert "names no file or folder" in refused(tmp_path, ELASTICSEARCH_CA_CERTS=str(tmp_path / "absent"))


def test_in_a_project_of_somebody_elses(tmp_path: Path) -> None:
    """What is Django's there isn't read, whatever stands in the environment; details are for who is authorized."""
    config, known = read({"DEBUG": "true", "DATABASE_URL": "nonsense", "ESASSISTANT_CORS_ORIGINS": "x"}, tmp_path)
    assert not SERVICE_ALONE & known.keys()
    assert (config.details, config.cors_origins) == (Details.AUTHORIZED, ())
    assert [sentence.split()[0] for sentence in config.unknown_names] == ["ESASSISTANT_CORS_ORIGINS"]


def test_misspelled_names(tmp_path: Path) -> None:
    """In a file they are refused, all at once; in the environment they are told to the audit."""
    (tmp_path / ".env").write_text("MAPPING_CACHE_TLL=5\nPOSTGRES_PASSWORD=x\nELASTICSEARCH_FOO=x\n")
    said = refused(tmp_path)
    assert "MAPPING_CACHE_TLL: is no setting: did you mean MAPPING_CACHE_TTL?" in said
    assert "ELASTICSEARCH_FOO: is no setting; the nearest is ELASTICSEARCH_" in said
    assert "POSTGRES_PASSWORD" not in said
    (tmp_path / ".env").unlink()
    config, _ = read({**GOOD, "MAPPING_CACHE_TLL": "5"}, tmp_path, django=True)
    assert config.unknown_names == ("MAPPING_CACHE_TLL has no effect: did you mean MAPPING_CACHE_TTL?",)
