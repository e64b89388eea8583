"""Reads the settings from the environment, `.env` and a profile into the configuration."""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from esassistant.config.model import (
    LONGEST_SECONDS,
    NO_PROFILE,
    ROLLBACK,
    ROLLBACK_VARIABLES,
    NodeUrls,
    Origin,
    Setting,
)

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
ENV_LINE = re.compile(r"#|(export )?[A-Za-z_0-9]+=")


class BadSettings(ValueError):
    """At least one setting has a value that can't be used; the message names each, and what it should be."""


class Reader:
    """Reads settings from mappings of names to texts, the strongest first, and remembers what it read.

    An empty text counts as not set. After the last setting call `finish()`.
    """

    def __init__(self, sources: Sequence[tuple[Origin, Mapping[str, str]]]) -> None:
        self._sources = list(sources)
        self.settings: dict[str, Setting] = {}
        self.problems: list[str] = []

    def fall_back_on(self, origin: Origin, source: Mapping[str, str]) -> None:
        """Add a source that is weaker than all so far."""
        self._sources.append((origin, source))

    def finish(self) -> None:
        """Raises `BadSettings` when any value so far was bad."""
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
        """One of the values of the enumeration that `default` belongs to."""
        kind = type(default)

        def parse(raw: str) -> E:
            try:
                return kind(raw.lower())
            except ValueError:
                raise ValueError(f"use one of {', '.join(str(choice.value) for choice in kind)}") from None

        return self._read(name, default, parse)

    def words(self, name: str, default: tuple[str, ...] = (), *, secret: bool = False) -> tuple[str, ...]:
        """A comma-separated list; blanks around the words and empty words are dropped."""
        return self._read(name, default, _split, secret=secret)

    def parsed(self, name: str, default: str, parse: Callable[[str], T], *, secret: bool = False) -> T:
        """A text in a form of its own; `parse` raises `ValueError` whose message says what to write instead."""
        try:
            parsed_default = parse(default)
        except ValueError as error:
            raise AssertionError(f"the default of {name} is bad: {error}") from error
        return self._read(name, parsed_default, parse, secret=secret)

    def profile(self, name: str, profiles: Sequence[str]) -> str:
        """The profile that the setting `name` chooses; without one, `rollback` if `ROLLBACK_VARIABLES` are set to their
        numbers, else `NO_PROFILE`.
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
        """Report a value that is bad for a reason its own parser can't see."""
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
    """The numbers of those lines of a `.env` file that would be dropped silently."""
    lines = enumerate(text.splitlines(), start=1)
    return [number for number, line in lines if line.strip() and not ENV_LINE.match(line)]


def _split(raw: str) -> tuple[str, ...]:
    return tuple(word for part in raw.split(",") if (word := part.strip()))


URL_EXAMPLE = "use URLs such as https://es.example.org:9200, separated by commas"


def parse_node_urls(raw: str) -> NodeUrls:
    """One or several comma-separated http(s) URLs, with or without credentials. Raises `ValueError` that says what to
    write.
    """
    urls: list[str] = []
    credentials: set[tuple[str, str]] = set()
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
        if parts.query or parts.fragment:
            raise ValueError("a URL here has no query and no fragment")
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
