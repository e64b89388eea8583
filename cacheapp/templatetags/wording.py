"""Numbers as people read them: filters for the pages of the mapping browser."""

from django import template

register = template.Library()


@register.filter
def number(value: int | None) -> str:
    """`12,345`; `unknown` for None."""
    return "unknown" if value is None else f"{value:,}"


@register.filter
def counted(value: int, words: str) -> str:
    """`1 index`, `12 indices`; `words`: the singular and the plural, such as `index indices`. `_` stands for a
    blank.
    """
    singular, plural = words.split()
    return f"{value:,} {(singular if value == 1 else plural).replace('_', ' ')}"


@register.filter
def beyond(total: int, shown: int) -> int:
    """How many of `total` are left when `shown` are shown."""
    return max(0, total - shown)
