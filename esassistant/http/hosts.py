"""Which Host headers Django accepts, remembered: asking it makes a request of Django's each time."""

from typing import Final

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

MAX_HOSTS: Final = 256
"""So many accepted hosts are remembered."""


class AcceptedHosts:
    """Of the settings in force; bounded, as clients choose what they send."""

    def __init__(self) -> None:
        self._accepted: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._accepted)

    def accepts(self, host: bytes | None) -> bool:
        """Whether Django accepts this Host header; None: there is none."""
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
