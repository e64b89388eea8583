"""Who may change things: holders of a bearer token."""

import hmac

from django.conf import settings
from django.http import HttpRequest

from esassistant.errors import Unauthorized


def require_token(request: HttpRequest) -> None:
    """Raises `Unauthorized` unless the request carries one of `ESASSISTANT_API_TOKENS` as its bearer token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("Send `Authorization: Bearer` with one of the tokens in ESASSISTANT_API_TOKENS.")
    if not is_api_token(token.strip()):
        raise Unauthorized("This token is not one of those in ESASSISTANT_API_TOKENS.")


def is_api_token(token: str) -> bool:
    """Whether `token` is one of ours; compares with each in constant time, so that timing tells nothing about any."""
    given = token.encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, ours.encode()) for ours in settings.ESASSISTANT.api_tokens]
    return any(matches)
