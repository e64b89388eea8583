"""The file of targets of webhooks: what an entry may say, and what is wrong with one, without any secret in it."""

import base64
import ipaddress
from pathlib import Path

import pytest

from cacheapp.state.changes import ChangeKind
from esassistant.config.toml_file import BadFile
from esassistant.config.webhooks import KINDS, MOST_TARGETS, load_targets, parse_targets
from esassistant.masking import MASK, mask_text

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
OTHER = f"whsec_{base64.b64encode(KEY[::-1]).decode()}"


def entry(**values: object) -> str:
    """An entry with these keys written otherwise; None: without it."""
    lines = {
        "name": '"one"',
        "url": '"https://hooks.example.org/es?key=concealed"',
        "secret": f'"{SECRET}"',
        "indices": '["logs-*"]',
        **values,
    }
    return "[[target]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)


def test_the_least() -> None:
    """Without more, all kinds are sent, to public addresses."""
    [target] = parse_targets(entry())
    assert (target.name, target.url, target.host) == (
        "one",
        "https://hooks.example.org/es?key=concealed",
        "hooks.example.org",
    )
    assert (target.secrets, target.indices, target.kinds) == ((KEY,), ("logs-*",), KINDS)
    assert target.refusal_of("1.1.1.1") is None
    assert target.refusal_of("10.0.0.1") is not None
    assert parse_targets("") == ()


def test_all_keys() -> None:
    """Kinds, networks, and two secrets while one replaces the other."""
    [target] = parse_targets(
        entry(secret=f'["{OTHER}", "{SECRET}"]', kinds='["changed"]', allow_networks='["10.1.0.0/16"]')
    )
    assert target.secrets == (KEY[::-1], KEY)
    assert target.kinds == ("changed",)
    assert target.allow_networks == (ipaddress.ip_network("10.1.0.0/16"),)
    assert target.refusal_of("10.1.0.1") is None
    assert target.refusal_of("10.2.0.1") is not None


def test_plain_http_stays_in_its_networks() -> None:
    """With http only named networks may be connected to, no public address."""
    [target] = parse_targets(entry(url='"http://receiver:8080/"', allow_networks='["10.1.0.0/16"]'))
    assert target.refusal_of("10.1.0.1") is None
    assert target.refusal_of("1.1.1.1") is not None


@pytest.mark.parametrize(
    "host", ["hooks.example.org.", f"{'a' * 63}.org", f"{'a.b.' * 62}ccccc", "m\u00fcnchen.example", "a_b.example", "h"]
)
def test_hosts_that_can_be_looked_up(host: str) -> None:
    """Names of another script, with an underscore or a dot at the end, and the longest, are names."""
    [target] = parse_targets(entry(url=f'"https://{host}/"'))
    assert target.address is None


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no name": ({"name": None}, "target 1 (line 1): name is missing"),
    "name": ({"name": '"a b"'}, "a name has 1 to 64"),
    "unknown key": ({"urls": "1"}, "there is no key 'urls'"),
    "no url": ({"url": "7"}, "url is one such as"),
    "ftp": ({"url": '"ftp://h/"'}, "url is one such as"),
    "no host": ({"url": '"https:///x"'}, "url is one such as"),
    "bad port": ({"url": '"https://h:99999/"'}, "url is one such as"),
    "port 0": ({"url": '"https://h:0/"'}, "url is one such as"),
    "blank": ({"url": '"https://h/a b"'}, "url is one such as"),
    "too long": ({"url": f'"https://h/{"a" * 2000}"'}, "url is one such as"),
    "password": ({"url": '"https://user:concealed@h/"'}, "has a user or a password"),
    "fragment": ({"url": '"https://h/#x"'}, "has a # in it"),
    "http": ({"url": '"http://h/"'}, "plain http"),
    "private": ({"url": '"https://10.0.0.1/"'}, "10.0.0.1 is private; name its network"),
    "metadata": ({"url": '"https://[::ffff:169.254.169.254]/"'}, "169.254.169.254 is link-local"),
    "empty label": (
        {"url": '"https://hooks..example.org/x"'},
        "the host of url can't be looked up: a name has 1 to 63",
    ),
    "empty first label": ({"url": '"https://.example.org/"'}, "the host of url can't be looked up"),
    "dots alone": ({"url": '"https://./"'}, "the host of url can't be looked up"),
    "two dots in one": ({"url": '"https://\u2025example.org/"'}, "the host of url can't be looked up"),
    "long label": ({"url": f'"https://{"a" * 64}.org/"'}, "the host of url can't be looked up"),
    "long name": ({"url": f'"https://{"a.b." * 63}cc/"'}, "at most 253 in all"),
    "full-width": ({"url": '"https://\uff11\uff12\uff17.0.0.1/"'}, "127.0.0.1 is this machine; name its network"),
    "other dots": ({"url": '"https://10\u30020\u30020\u30021/"'}, "10.0.0.1 is private; name its network"),
    "public http": ({"url": '"http://1.1.1.1/"', "allow_networks": '["10.0.0.0/8"]'}, "in none of the networks"),
    "secret": ({"secret": '"concealed-and-not-of-the-form"'}, "secret is whsec_ and 24 to 64"),
    "secret not base64": ({"secret": '"whsec_concealed!"'}, "secret is whsec_ and 24 to 64"),
    "secret too short": ({"secret": '"whsec_Y29uY2VhbGVk"'}, "secret is whsec_ and 24 to 64"),
    "no secret": ({"secret": "[]"}, "secret is whsec_ and 24 to 64"),
    "three secrets": ({"secret": f'["{SECRET}", "{SECRET}", "{SECRET}"]'}, "secret is whsec_ and 24 to 64"),
    "indices": ({"indices": '"logs-*"'}, "indices is a list"),
    "kinds": ({"kinds": '["altered"]'}, "kinds is a list of some of created, changed"),
    "no kinds": ({"kinds": "[]"}, "kinds is a list of some of"),
    "networks": ({"allow_networks": '"10.0.0.0/8"'}, "allow_networks is a list"),
    "host bits": ({"allow_networks": '["10.0.0.1/8"]'}, "whose bits after the prefix are 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong(case: str) -> None:
    """It is said by entry and line, with what to write, and nothing of a URL or a secret is repeated."""
    values, message = BAD[case]
    with pytest.raises(BadFile) as caught:
        parse_targets(entry(**values))
    assert message in str(caught.value)
    assert str(caught.value).startswith("target 1")
    assert "concealed" not in str(caught.value)


def test_whole_file(tmp_path: Path) -> None:
    """Names are different, targets are few, and there is nothing else in the file."""
    with pytest.raises(BadFile, match=r"target 2 'one' \(line 6\): target 1 'one' \(line 1\) has the same name"):
        parse_targets(entry() + entry())
    with pytest.raises(BadFile, match=f"at most {MOST_TARGETS}"):
        parse_targets("".join(entry(name=f'"t{number}"') for number in range(MOST_TARGETS + 1)))
    with pytest.raises(BadFile, match=r"unknown key 'token'; write entries as \[\[target\]\]"):
        parse_targets("[[token]]\n")
    path = tmp_path / "webhooks.toml"
    with pytest.raises(BadFile, match="can't be read"):
        load_targets(path)
    path.write_text(entry())
    assert load_targets(path) == parse_targets(entry())


def test_nothing_secret_is_shown() -> None:
    """Neither `repr` nor a log has the URL or the secret."""
    [target] = parse_targets(entry())
    assert "concealed" not in repr(target)
    assert SECRET not in repr(target)
    assert str(KEY) not in repr(target)
    assert mask_text(f"it was {SECRET}, alas") == f"it was {MASK}, alas"


def test_kinds_are_those_of_the_history() -> None:
    """The kernel's list of kinds is the history's."""
    assert tuple(kind.value for kind in ChangeKind) == KINDS
