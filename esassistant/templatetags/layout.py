"""The template tag for the header of each page."""

from typing import Any

from django import template

from esassistant.http.layout import Layout, layout_of

register = template.Library()


@register.simple_tag(takes_context=True)
def layout(context: dict[str, Any]) -> Layout:
    """Return the layout for the caller of the page. A template without a request gets the layout for nobody in
    particular.
    """
    return layout_of(context.get("request"))
