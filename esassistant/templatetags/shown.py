"""Template filters and tags that show numbers with units, moments and words for people."""

import re
from datetime import UTC, datetime

from django import template
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from esassistant.addresses import own_static as address_of_own_static
from esassistant.addresses import placed
from esassistant.clock import now_utc
from esassistant.units import as_ago, as_bytes, as_duration, as_percent, clock_time

register = template.Library()


@register.simple_tag
def own_static(name: str) -> str:
    """Return the address of one of our static files. Works also in a project that embeds this service."""
    return address_of_own_static(name)


@register.filter
def duration(value: float | None) -> str:
    """Return a duration such as `12 ms`, `1.5 s` or `3 min 5 s`; `no data` for None."""
    return "no data" if value is None else as_duration(value)


@register.filter(name="bytes")
def bytes_(value: float | None) -> str:
    """Return a size such as `9.1 kB`; `no data` for None."""
    return "no data" if value is None else as_bytes(value)


@register.filter
def milliseconds(value: float) -> str:
    """Return a duration, given in milliseconds, as `12 ms` or `1.5 s`."""
    return as_duration(value / 1000)


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """Return a moment as HTML: how long ago it was, and the time in UTC; `never` for None. In the browser, a script
    adds the local time and keeps the age up to date.
    """
    if at is None:
        return "never"
    now, utc = now_utc(), at.astimezone(UTC)
    return format_html(
        '<time class="moment" datetime="{}" title="{}">'
        '<span class="ago">{}</span> <span class="clock">{}</span></time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}",
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        as_ago((now - utc).total_seconds()),
        clock_time(utc, now),
    )


@register.filter
def guide_address(reference: str) -> str:
    """Return the address, in this service, of a reference to the documents such as `docs/operations.md#locked-out`."""
    page, _, anchor = reference.removeprefix("docs/").partition("#")
    return reverse("esassistant:guide", args=(page.removesuffix(".md"),)) + (f"#{anchor}" if anchor else "")


@register.filter
def prose(text: str) -> SafeString:
    """Return a text as HTML, with everything between `backticks` as code."""
    escaped = conditional_escape(placed(text))
    return mark_safe(re.sub("`([^`]+)`", r"<code>\1</code>", escaped))  # noqa: S308  # nosec B308, B703  (escaped)


@register.simple_tag
def fact(name: str, value: bool | float | str | None) -> str:
    """Return a fact of a check with its unit, which the name tells: `oldest age 3 min 5 s`, `coverage 100 %`, `nodes
    3`.
    """
    words, _, unit = name.rpartition("_")
    words = FACT_WORDS.get(name, words)
    if unit not in FACT_UNITS:
        words = name
    elif isinstance(value, int | float):
        value = FACT_UNITS[unit](value)
    return f"{words.replace('_', ' ')} {'unknown' if value is None else value}"


FACT_WORDS = {"loop_lag_p99_seconds": "event loop late, 99 % within"}
"""The names of facts that the words of their keys don't tell."""
FACT_UNITS = {"seconds": as_duration, "percent": as_percent, "bytes": as_bytes}
