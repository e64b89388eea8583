"""The file of targets of webhooks, `ESASSISTANT_WEBHOOKS`: what an entry may say, and what is wrong with one."""

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from yarl import URL

from esassistant.config.toml_file import NAME, BadFile, check_keys, entries, patterns, read_text
from esassistant.ip_addresses import Network, refusal_of
from esassistant.masking import SECRET_PREFIX

MOST_TARGETS: Final = 20
"""They are labels of metrics, and each has connections of its own."""
MOST_SECRETS: Final = 2
MAX_URL_CHARACTERS: Final = 2000
MAX_HOST_CHARACTERS: Final = 253
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""As Standard Webhooks has them."""
KINDS: Final = ("created", "changed", "recreated", "deleted", "hidden", "shown", "gap")
"""Of changes, as the history tells them."""

KEYS = ("name", "url", "secret", "indices", "kinds", "allow_networks")
REQUIRED = KEYS[:4]
SECRET_HINT = (
    f"secret is {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes as base64, such as "
    f'`echo "{SECRET_PREFIX}$(openssl rand -base64 32)"` prints; or a list of {MOST_SECRETS} such, while one replaces '
    "the other"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One entry: where changes are sent, and which.

    Attributes:
        url: May have a secret in its path or query, so that only its host is ever shown.
        secrets: The keys that each event is signed with, by each of them.
        indices: Patterns of names of indices, aliases and data streams; nothing else exists for the target.
        kinds: Of changes that are sent. Gaps are sent whatever these are.
        allow_networks: Of addresses that it may have beside public ones; with http, of all that it may have.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    indices: tuple[str, ...]
    kinds: tuple[str, ...] = KINDS
    allow_networks: tuple[Network, ...] = ()

    @property
    def host(self) -> str:
        """The host of the URL, as it may be shown to operators."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https:")

    @property
    def asked_host(self) -> str:
        """The host as the library for HTTP reads it: what it connects to if it is an address, and else looks up. For it
        some more characters are digits and dots than for Python's own parser, such as full-width ones.

        Raises `ValueError` where it can't read it.
        """
        return URL(self.url).raw_host or ""

    @property
    def address(self) -> str | None:
        """The host, where that is an address; None: it is a name. Raises `ValueError` as `asked_host` does."""
        host = self.asked_host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return None
        return host

    def refusal_of(self, address: str) -> str | None:
        """Say why an address is not to be connected to; None: it may be."""
        return refusal_of(address, self.allow_networks, public=self.is_encrypted)


def load_targets(path: Path) -> tuple[Target, ...]:
    """Read the file. Raises `BadFile` when it can't be read, too."""
    return parse_targets(read_text(path))


def parse_targets(text: str) -> tuple[Target, ...]:
    """Read the targets of a file: TOML with `[[target]]` entries. Raises `BadFile`, which names entry and line, and no
    secret.
    """
    names: dict[str, str] = {}
    found = []
    for where, entry in entries(text, "target"):
        target = _target(entry, where)
        if target.name in names:
            raise BadFile(f"{where}: {names[target.name]} has the same name")
        names[target.name] = where
        found.append(target)
    if len(found) > MOST_TARGETS:
        raise BadFile(f"has {len(found)} targets; at most {MOST_TARGETS} are sent to")
    return tuple(found)


def _target(entry: Mapping[str, Any], where: str) -> Target:
    check_keys(entry, where, KEYS, REQUIRED)
    name = entry["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadFile(f"{where}: a name has 1 to 64 of letters, digits, '.', '_' and '-'")
    target = Target(
        name=name,
        url=_url(entry["url"], where),
        secrets=_secrets(entry["secret"], where),
        indices=patterns(entry["indices"], where),
        kinds=_kinds(entry.get("kinds"), where),
        allow_networks=_networks(entry.get("allow_networks"), where),
    )
    _check_place(target, where)
    return target


def _url(given: Any, where: str) -> str:
    """Check the form of a URL. It isn't repeated in any message: it may have a secret."""
    wrong = f"{where}: url is one such as https://hooks.example.org/es"
    parts = _parts(given)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadFile(wrong)
    if parts.username is not None or parts.password is not None:
        raise BadFile(f"{where}: url has a user or a password in it; the signature tells the receiver who sends")
    if parts.fragment:
        raise BadFile(f"{where}: url has a # in it, and what follows would never be sent")
    return str(given)


def _parts(given: Any) -> SplitResult | None:
    if not isinstance(given, str) or len(given) > MAX_URL_CHARACTERS or not given.isprintable() or " " in given:
        return None
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts


def _check_place(target: Target, where: str) -> None:
    """Raises `BadFile` for a target that nothing could ever be sent to."""
    if not target.is_encrypted and not target.allow_networks:
        raise BadFile(
            f"{where}: url is plain http, which anybody between can read; use https, or name the networks that it "
            'stays in, such as allow_networks = ["10.1.0.0/16"]'
        )
    try:
        address = target.address
        if address is None:
            _check_name(target.asked_host)
            return  # it is looked up when something is sent
    except ValueError:
        raise BadFile(
            f"{where}: the host of url can't be looked up: a name has 1 to 63 characters between two dots, and at most "
            f"{MAX_HOST_CHARACTERS} in all"
        ) from None
    if (refusal := target.refusal_of(address)) is not None:
        raise BadFile(f'{where}: {refusal}; name its network, such as allow_networks = ["10.1.0.0/16"]')


def _check_name(host: str) -> None:
    """Raises `ValueError` for what no resolver can be asked for: the system's encodes names just so."""
    if len(host.encode("idna").removesuffix(b".")) > MAX_HOST_CHARACTERS:
        raise ValueError("too long")


def _secrets(given: Any, where: str) -> tuple[bytes, ...]:
    texts = given if isinstance(given, list) else [given]
    if not 1 <= len(texts) <= MOST_SECRETS:
        raise BadFile(f"{where}: {SECRET_HINT}")
    return tuple(_secret(text, where) for text in texts)


def _secret(given: Any, where: str) -> bytes:
    key = b""
    if isinstance(given, str) and given.startswith(SECRET_PREFIX):
        with suppress(binascii.Error, ValueError):
            key = base64.b64decode(given.removeprefix(SECRET_PREFIX), validate=True)
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise BadFile(f"{where}: {SECRET_HINT}")
    return key


def _kinds(given: Any, where: str) -> tuple[str, ...]:
    if given is None:
        return KINDS
    if not isinstance(given, list) or not given or not all(kind in KINDS for kind in given):
        raise BadFile(f"{where}: kinds is a list of some of {', '.join(KINDS)}; without it all are sent")
    return tuple(given)


def _networks(given: Any, where: str) -> tuple[Network, ...]:
    if given is None:
        return ()
    wrong = f'{where}: allow_networks is a list of networks, such as ["10.1.0.0/16", "fd00:1::/64"]'
    if not isinstance(given, list) or not given or not all(isinstance(text, str) for text in given):
        raise BadFile(wrong)
    try:
        return tuple(ipaddress.ip_network(text) for text in given)
    except ValueError:
        raise BadFile(f"{wrong}, whose bits after the prefix are 0") from None
