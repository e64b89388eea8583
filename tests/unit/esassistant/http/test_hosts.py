"""Which Host headers are accepted, and how many of them are remembered."""

from typing import Any

import pytest
from django.core.exceptions import DisallowedHost

from esassistant.http.hosts import MAX_HOSTS, AcceptedHosts


def test_hosts_are_remembered_within_bounds(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that Django accepts is checked once; of very many only some are kept, and refused ones never."""
    settings.ALLOWED_HOSTS = [".example.org"]
    checked: list[str] = []

    def get_host(request: Any) -> str:
        host: str = request.META["HTTP_HOST"]
        checked.append(host)
        if not host.endswith(".example.org"):
            raise DisallowedHost
        return host

    monkeypatch.setattr("django.http.HttpRequest.get_host", get_host)
    hosts = AcceptedHosts()
    accepted = [hosts.accepts(host) for host in (b"a.example.org", b"a.example.org", b"evil", b"evil", None)]
    assert (accepted, checked) == ([True, True, False, False, False], ["a.example.org", "evil", "evil"])
    for number in range(2 * MAX_HOSTS):
        assert hosts.accepts(b"%d.example.org" % number)
    assert len(hosts) <= MAX_HOSTS
