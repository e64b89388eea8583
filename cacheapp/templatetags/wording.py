"""Numbers in words: template filters for the pages of the mapping browser."""

from collections.abc import Sized

from django import template

register = template.Library()


@register.filter
def number(value: int | None) -> str:
    """Return a number as `12,345`; `unknown` for None."""
    return "unknown" if value is None else f"{value:,}"


@register.filter
def counted(value: int, words: str) -> str:
    """Return a number with its noun: `1 index`, `12 indices`. `words`: the singular and the plural, such as
    `index indices`; `_` stands for a blank in them.
    """
    singular, plural = words.split()
    return f"{value:,} {(singular if value == 1 else plural).replace('_', ' ')}"


@register.filter
def beyond(total: int, shown: Sized | int) -> int:
    """Return how many of `total` are not shown. `shown`: the shown ones, or their number."""
    return max(0, total - (shown if isinstance(shown, int) else len(shown)))
