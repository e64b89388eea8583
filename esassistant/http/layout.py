"""The layout of every page, around its content: the state of the service, the cluster that it serves, and who is logged
in.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from esassistant.config.model import Details
from esassistant.deployment import KNOWN_HEALTH
from esassistant.elasticsearch.identity import CLUSTER_IDENTITY_REPORT, ClusterIdentity
from esassistant.errors import RegistryNotOpen
from esassistant.http.sessions import known_user
from esassistant.registry import registry
from esassistant.resource import Reports


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout for one reader.

    Attributes:
        state: The state of the service, which everybody may read at `/api/health`; empty while it isn't known.
        cluster_name, cluster_version: Only for readers who may read everything.
        user: The name of the staff user who is logged in.
        login_url: Set if certainly nobody is logged in.
    """

    state: str = ""
    cluster_name: str = ""
    cluster_version: str = ""
    user: str = ""
    login_url: str = ""

    @property
    def cluster(self) -> str:
        """Name and version of the cluster; empty if this reader may not know them, or if they aren't known."""
        return f"{self.cluster_name} {self.cluster_version}".strip()


def layout_of(request: HttpRequest | None) -> Layout:
    """Return the layout of a page for this request. With None, return that of a page that is made once, for everybody.

    This calls neither the database nor the cluster, and reads nothing that a client may have sent in a bad form, so
    that error pages can use it. The user is known only if something else has looked up the session already.
    """
    if request is None:
        return Layout()
    user = known_user(request)
    is_staff = user is not None and user.is_active and user.is_staff
    reports = _reports()
    health = reports.get(KNOWN_HEALTH.name)
    may_know = is_staff or settings.ESASSISTANT.details is Details.ALWAYS
    cluster = reports.get(CLUSTER_IDENTITY_REPORT.name, ClusterIdentity()) if may_know else ClusterIdentity()
    return Layout(
        state="" if health is None else health.status.value,
        cluster_name=cluster.name,
        cluster_version=cluster.version,
        user=user.get_username() if is_staff else "",
        login_url="" if is_staff else _login_url(request, user),
    )


def _login_url(request: HttpRequest, user: Any) -> str:
    """Return the address of the login. It is empty if somebody may be logged in, and on the login page itself."""
    is_nobody = user is not None or settings.SESSION_COOKIE_NAME not in request.COOKIES
    login = reverse("admin:login")
    if not is_nobody or request.path == login:
        return ""
    back = {"next": request.get_full_path()} if request.method in ("GET", "HEAD") else {}
    return f"{login}?{urlencode(back)}"


def _reports() -> Reports:
    try:
        return registry.reports((KNOWN_HEALTH, CLUSTER_IDENTITY_REPORT))
    except RegistryNotOpen:
        return Reports()
