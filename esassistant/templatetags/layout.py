"""What the header of each page shows."""

from typing import Any

from django import template

from esassistant.http.layout import Layout, layout_of

register = template.Library()


@register.simple_tag(takes_context=True)
def layout(context: dict[str, Any]) -> Layout:
    """The layout for who asked; where the template is given no request, for nobody in particular."""
    return layout_of(context.get("request"))
