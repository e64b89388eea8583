"""Checks the headers that Django parses, before it sees them. Strangers choose them, and on some of them the parsers of
Python, which Django uses, fail or take quadratic time.

60 kB of `;` in `Accept` or `Content-Type` took 5 s, on the event loop; as many backslashes in a cookie took 13 s.
"""

import re
from typing import Final

from esassistant.asgi_types import Scope

MAX_TYPE_BYTES: Final = 500
"""The longest `Content-Type`. Browsers send 70 bytes."""
MAX_ACCEPT_BYTES: Final = 1_000
"""The longest `Accept` that is looked at. Browsers send 150 bytes."""
MAX_BACKSLASHES: Final = 200
"""How many backslashes cookies may have. Django's own have one for each quotation mark in a message."""
UNREADABLE: Final = (
    f"A header can't be read. Content-Type has at most {MAX_TYPE_BYTES} bytes, no parameters with a *, and, for forms, "
    f"no other charset than UTF-8; cookies have at most {MAX_BACKSLASHES} backslashes."
)

_STARRED: Final = re.compile(rb";[^;=,]*\*")
"""A parameter in `Accept` with a charset of its own (RFC 2231), of which Django accepts only some."""
_UTF_8: Final = re.compile(rb";\s*charset\s*=\s*\"?utf-?8\"?\s*(?:;|$)")
_FORMS: Final = (b"multipart/form-data", b"application/x-www-form-urlencoded")
_PARSED: Final = frozenset({b"accept", b"content-type", b"cookie"})


def readable(scope: Scope) -> Scope | None:
    """Return the scope of a request with headers that Django can parse; None if the request has to be refused.

    An `Accept` that can't be read is left out: RFC 9110 lets a server disregard it.
    """
    given: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _PARSED:  # Django joins those that come several times
            given[name] = b"%b,%b" % (given[name], value) if name in given else value
    if not given:
        return scope
    if (
        not _is_readable_type(given.get(b"content-type", b""))
        or given.get(b"cookie", b"").count(b"\\") > MAX_BACKSLASHES
    ):
        return None
    accept = given.get(b"accept", b"")
    if len(accept) <= MAX_ACCEPT_BYTES and not _STARRED.search(accept):
        return scope
    return {**scope, "headers": [one for one in scope["headers"] if one[0] != b"accept"]}


def _is_readable_type(content_type: bytes) -> bool:
    if not content_type:
        return True
    lowered = content_type.lower()
    if len(lowered) > MAX_TYPE_BYTES or b"*" in lowered.partition(b";")[2]:
        return False
    # Of several, and of one in quotes, it isn't sure which Django takes.
    is_utf_8 = b"charset" not in lowered or (lowered.count(b"charset") == 1 and _UTF_8.search(lowered) is not None)
    return is_utf_8 or not lowered.lstrip().startswith(_FORMS)
