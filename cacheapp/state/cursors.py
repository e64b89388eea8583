"""Cursors of pages: opaque to who gets them, and good while what is listed changes, as they name the place where a page
ended instead of counting from the beginning.
"""

import base64
import binascii

from esassistant.errors import BadRequest


def encode_cursor(place: str) -> str:
    """Write a place, such as the last name of a page, as a cursor."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Read the place in a cursor. Raises `BadRequest` for what is none of ours."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise not_ours() from None


def not_ours() -> BadRequest:
    """For a cursor that can't be read."""
    return BadRequest("This cursor is not one of ours: use the `next_cursor` of the page before.")
