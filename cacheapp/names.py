"""Which names may be sent to Elasticsearch, and how.

`.`, `..`, an empty name and `[]` sent to `_mapping` read *every* mapping, and `*` or `,` ask for several; so a name
that can't be legal is refused before anything else happens.
"""

import re
from urllib.parse import quote

from cacheapp.errors import IllegalName

MAX_NAME_BYTES = 255
ILLEGAL = re.compile(r'[ "*,/<>?\\|#:\x00-\x1f\x7f-\x9f\ud800-\udfff]')


def check_name(name: str) -> str:
    """Return `name` if it can be that of an index, alias or data stream; raises `IllegalName` saying why not."""
    if not name:
        raise IllegalName("An index name can't be empty.")
    if name in (".", ".."):
        raise IllegalName("An index can't be named '.' or '..'.")
    if name[0] in "-_+":
        raise IllegalName("An index name can't start with '-', '_' or '+'.")
    if ILLEGAL.search(name):
        raise IllegalName('An index name has no blanks, control characters, or any of " * , / < > ? \\ | # :')
    if name != name.lower():
        raise IllegalName("An index name is in lower case.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise IllegalName(f"An index name has at most {MAX_NAME_BYTES} bytes.")
    return name


def encode_name(name: str) -> str:
    """One name as it stands in a URL's path."""
    return quote(name, safe="")
