"""Filters: numbers with their units, as people read them."""

from django import template

from esassistant.units import as_bytes, as_duration

register = template.Library()


@register.filter
def duration(value: float | None) -> str:
    """`12 ms`, `1.5 s`, `3 min 5 s`; nothing known: `no data`."""
    return "no data" if value is None else as_duration(value)


@register.filter(name="bytes")
def bytes_(value: float | None) -> str:
    """`9.1 kB`; nothing known: `no data`."""
    return "no data" if value is None else as_bytes(value)
