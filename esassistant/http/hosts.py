"""Remembers which Host headers Django accepts, as asking Django needs a request object each time."""

from typing import Final

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

MAX_HOSTS: Final = 256
"""The most accepted hosts that are remembered."""


class AcceptedHosts:
    """The accepted hosts under the settings in force. Their number is bounded, as clients choose what they send."""

    def __init__(self) -> None:
        self._accepted: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._accepted)

    def accepts(self, host: bytes | None) -> bool:
        """Return True if Django accepts this Host header. `host` is None if there is none."""
        if host in self._accepted:
            return True
        if host is None:
            return False
        request = HttpRequest()
        request.META["HTTP_HOST"] = host.decode("latin-1")
        try:
            request.get_host()
        except DisallowedHost:
            return False
        if len(self._accepted) >= MAX_HOSTS:
            self._accepted.clear()
        self._accepted.add(host)
        return True
