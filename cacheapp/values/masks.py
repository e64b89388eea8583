"""Find what is never gathered of a document, whatever else is allowed: fields with certain names, and values of certain
forms. Pure.

A field is left out if its name has certain words in it, in whatever style it is written: words for credentials, and
words for persons. A field is also left out, with all of its values, if one of its values looks like a secret, like
somebody's address or number, or like a text.
"""

import ipaddress
import re
from collections.abc import Iterable

from cacheapp.state.names import matches
from esassistant.masking import SECRET_NAMES, mask_text

MAX_VALUE_CHARACTERS = 100
MAX_VALUE_WORDS = 5
"""A value of more words counts as a text, whatever its type says."""

PRIVATE_WORDS = frozenset(
    """
    password passwd passphrase passcode pwd pass pin otp totp mfa secret secrets token tokens apikey credential
    credentials auth authorization bearer cookie cookies session sessionid jwt csrf nonce salt hash signature cert
    certificate ssh fingerprint email emails mail mails phone phones telephone tel mobile fax ssn sin nin passport iban
    bic swift cvv cvc pan cardnumber firstname lastname surname fullname forename username usernames login logins birth
    birthday birthdate dob gender sex salary wage income religion ethnicity nationality diagnosis street address
    addresses postcode postal zip zipcode latitude longitude lat lon gps ip ipaddress mac imei imsi uuid guid
    """.split()
)
"""Words in the names of fields that are never gathered."""
PERSON_WORDS = frozenset(
    """
    user users person persons people patient patients customer customers client clients employee employees member
    members author authors owner owners contact contacts recipient recipients sender senders account accounts holder
    holders card cards license licence
    """.split()
)
"""Words for persons and their things. A field is never gathered if its last word is one of them, or if a word such as
"id" or "name" comes last and one of them before it. Other properties of a person (`customer.tier`) are gathered.
"""
WHICH_WORDS = frozenset("name names id ids number numbers no nr key code full first last".split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_NAME = re.compile(SECRET_NAMES, re.IGNORECASE)

_FORMS = tuple(
    re.compile(form)
    for form in (
        r"[^\s@]+@[^\s@]+\.[^\s@]+",  # an e-mail address
        r"[a-z][a-z0-9+.-]*://\S*[?@]\S*",  # a URL with a query or credentials
        r"(?i:ey[a-z0-9_-]{8,}\.[a-z0-9_-]+)",  # a signed token
        r"(?=\S*[0-9])(?=\S*[A-Za-z])[A-Za-z0-9+/=_-]{20,}",  # a key, hash or id: letters and digits at random
        r"[0-9a-fA-F]{16,}",
        r"[+(]?[0-9][0-9 ()/.-]{6,}[0-9]",  # the number of a phone, a card or an identity document
        r"[A-Z]{2}[0-9]{2}[ ]?(?:[A-Z0-9]{4}[ ]?){3,}[A-Z0-9]{0,4}",  # the number of a bank account
        r"-----BEGIN .*",
    )
)
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-/.](?:0[1-9]|1[0-2])(?:[-/.][0-3][0-9])?")
_VERSION = re.compile(r"v?[0-9]{1,4}(?:\.[0-9]{1,4}){1,2}")


def is_private_name(path: str, patterns: Iterable[str] = ()) -> bool:
    """Return whether a field of this name is never gathered. `patterns`: further such names, with `*`."""
    words = [word.lower() for word in _WORD.findall(path)]
    joined = {part.replace("_", "").replace("-", "") for part in path.lower().split(".")}
    if _SECRET_NAME.search(path) or not PRIVATE_WORDS.isdisjoint([*words, *joined]):
        return True
    last = words[-1] if words else ""
    if last in PERSON_WORDS or (last in WHICH_WORDS and not PERSON_WORDS.isdisjoint(words)):
        return True
    return any(matches(path.lower(), pattern.lower()) for pattern in patterns)


def is_private_value(value: str) -> bool:
    """Return whether a value looks like a secret, identifies a person, or is a text."""
    text = value.strip()
    if len(text) > MAX_VALUE_CHARACTERS or len(text.split()) > MAX_VALUE_WORDS or "\n" in text:
        return True
    if _DATE.fullmatch(text) or _VERSION.fullmatch(text):
        return False
    return any(form.fullmatch(text) for form in _FORMS) or _is_address(text) or mask_text(text) != text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
