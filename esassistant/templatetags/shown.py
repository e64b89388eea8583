"""Filters: numbers with their units, moments and words, as people read them."""

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
register.filter("placed", placed)


@register.simple_tag
def own_static(name: str) -> str:
    """The address of one of our static files, also in a project whose own are elsewhere."""
    return address_of_own_static(name)


@register.filter
def duration(value: float | None) -> str:
    """`12 ms`, `1.5 s`, `3 min 5 s`; nothing known: `no data`."""
    return "no data" if value is None else as_duration(value)


@register.filter(name="bytes")
def bytes_(value: float | None) -> str:
    """`9.1 kB`; nothing known: `no data`."""
    return "no data" if value is None else as_bytes(value)


@register.filter
def milliseconds(value: float) -> str:
    """A duration that is told in milliseconds: `12 ms`, `1.5 s`."""
    return as_duration(value / 1000)


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """A moment: how long ago, and when in UTC; the browser adds the local time and counts on. `never` for None."""
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
    """Where a reference to the documents, such as `docs/operations.md#locked-out`, is read here."""
    page, _, anchor = reference.removeprefix("docs/").partition("#")
    return reverse("esassistant:guide", args=(page.removesuffix(".md"),)) + (f"#{anchor}" if anchor else "")


@register.filter
def prose(text: str) -> SafeString:
    """A text in which `backticks` are around what is code."""
    escaped = conditional_escape(placed(text))
    return mark_safe(re.sub("`([^`]+)`", r"<code>\1</code>", escaped))  # noqa: S308  # nosec B308, B703  (escaped)


@register.simple_tag
def fact(name: str, value: bool | float | str | None) -> str:
    """A fact of a check, whose name has its unit: `oldest age 3 min 5 s`, `coverage 100 %`, `nodes 3`."""
    words, _, unit = name.rpartition("_")
    if unit not in FACT_UNITS:
        words = name
    elif isinstance(value, int | float):
        value = FACT_UNITS[unit](value)
    return f"{words.replace('_', ' ')} {'unknown' if value is None else value}"


FACT_UNITS = {"seconds": as_duration, "percent": as_percent, "bytes": as_bytes}
