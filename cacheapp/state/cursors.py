"""Cursors of pages. They are opaque to callers, and stay valid while the list changes, because they hold the place
where a page ended instead of a count from the beginning.
"""

import base64
import binascii

from esassistant.errors import BadRequest


def encode_cursor(place: str) -> str:
    """Return the cursor for a place in a list, such as the last name of a page."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the place that a cursor holds. Raises `BadRequest` for a text that isn't one of our cursors."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise not_ours() from None


def not_ours() -> BadRequest:
    """Return the error for a cursor that can't be read."""
    return BadRequest("This cursor is not one of ours: use the `next_cursor` of the page before.")
