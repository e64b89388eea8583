"""The file of webhook targets, `ESASSISTANT_WEBHOOKS`: parses its entries, and says what is wrong with one."""

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
"""There is a limit because each target is a label of metrics and has its own connections."""
MOST_SECRETS: Final = 2
MAX_URL_CHARACTERS: Final = 2000
MAX_HOST_CHARACTERS: Final = 253
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""The limits of the Standard Webhooks specification."""
KINDS: Final = ("created", "changed", "recreated", "deleted", "hidden", "shown", "gap")
"""The kinds of changes, as in the history."""

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
        url: Its path or query may contain a secret, so only the host is ever shown.
        secrets: Keys. Each event is signed with every one of them.
        indices: Patterns of names of indices, aliases and data streams. Nothing else exists for the target.
        kinds: The kinds of changes that are sent. Gaps are always sent.
        allow_networks: Networks in which the target may be. With https, public addresses are allowed too; with http,
            only these networks are.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    indices: tuple[str, ...]
    kinds: tuple[str, ...] = KINDS
    allow_networks: tuple[Network, ...] = ()

    @property
    def host(self) -> str:
        """The host of the URL, which may be shown to operators."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https:")

    @property
    def asked_host(self) -> str:
        """The host as the HTTP library reads it: it connects to it if it is an address, and looks it up if it is a
        name.

        The library accepts some more characters as digits and dots than Python's own parser does, such as full-width
        ones. Raises `ValueError` if it can't read the host.
        """
        return URL(self.url).raw_host or ""

    @property
    def address(self) -> str | None:
        """The host if it is an address, or None if it is a name. Raises `ValueError` as `asked_host` does."""
        host = self.asked_host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return None
        return host

    def refusal_of(self, address: str) -> str | None:
        """Return why events must not be sent to an address, or None if they may be."""
        return refusal_of(address, self.allow_networks, public=self.is_encrypted)


def load_targets(path: Path) -> tuple[Target, ...]:
    """Read and parse the file. Raise `BadFile` if it can't be read, or if something in it is wrong."""
    return parse_targets(read_text(path))


def parse_targets(text: str) -> tuple[Target, ...]:
    """Parse the targets of a file: TOML with `[[target]]` entries.

    Raise `BadFile` if something is wrong. Its message names the entry and the line, and contains no secret.
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
    """Check the form of a URL. No message repeats the URL, as it may contain a secret. Raise `BadFile` if it can't be
    used.
    """
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
    """Raise `BadFile` for a target to which nothing could ever be sent."""
    if not target.is_encrypted and not target.allow_networks:
        raise BadFile(
            f"{where}: url is plain http, which anybody between can read; use https, or name the networks that it "
            'stays in, such as allow_networks = ["10.1.0.0/16"]'
        )
    try:
        address = target.address
        if address is None:
            _check_name(target.asked_host)
            return  # a name is looked up only when something is sent
    except ValueError:
        raise BadFile(
            f"{where}: the host of url can't be looked up: a name has 1 to 63 characters between two dots, and at most "
            f"{MAX_HOST_CHARACTERS} in all"
        ) from None
    if (refusal := target.refusal_of(address)) is not None:
        raise BadFile(f'{where}: {refusal}; name its network, such as allow_networks = ["10.1.0.0/16"]')


def _check_name(host: str) -> None:
    """Raise `ValueError` for a name that no resolver could look up. The system encodes names in the same way."""
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
