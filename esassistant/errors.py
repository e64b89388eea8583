"""Errors that reach a caller. Each class has the HTTP status and title; the message is written for the person who reads
it.

A message never contains a secret or the raw text of another exception: those go to the log, with secrets masked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

UNTYPED = "about:blank"
"""The type of a problem about which only its status is known (RFC 9457, 4.2.1)."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """Explains a `type` of problem to people; the page `/problems/{name}` shows it. A name is never changed, and never
    reused for another type.
    """

    name: str
    meaning: str
    remedy: str

    @property
    def uri(self) -> str:
        """The `type` of the problem, relative to the address of the request."""
        return f"/problems/{self.name}"


class EsassistantError(Exception):
    """Base of the project's own errors.

    `status` and `title` are shown in the problem+json answer, and `problem_type` explains them. `retry_after_seconds`
    becomes the `Retry-After` header. `detail` is for callers; `operator_detail` says the same with host and port, for
    logs, health and the status page. `members` are added to the answer, for programs.

    A class inherits the problem type of its base class unless it declares one. If its status differs from the status of
    the class that declares the type, its problems have no type.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    members: Mapping[str, object] = MappingProxyType({})
    problem_type: ClassVar[ProblemType] = ProblemType(
        "internal-error",
        "Something failed in this server that its authors did not foresee.",
        "Ask its operator to look in the log for the request id of the answer. Asking again may help.",
    )

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "problem_type" in vars(cls):
            _declared_by.setdefault(cls.problem_type.name, cls)

    @property
    def type_uri(self) -> str:
        """The `type` of the problem that is answered for this error."""
        declared = _declared_by[self.problem_type.name]
        return self.problem_type.uri if declared.status == self.status else UNTYPED

    def __init__(
        self, detail: str, *, retry_after_seconds: float | None = None, operator_detail: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.operator_detail = operator_detail or detail
        self.retry_after_seconds = retry_after_seconds


_declared_by: dict[str, type[EsassistantError]] = {EsassistantError.problem_type.name: EsassistantError}
"""The class that declares each type, by its name."""


def problem_types() -> Mapping[str, type[EsassistantError]]:
    """Return all types of problems by name, each with the class that declares it. That class has the status and the
    title.
    """
    return _declared_by


class BadRequest(EsassistantError):
    """The request can't be understood; the detail says what to send instead."""

    status = 400
    title = "Bad request"
    problem_type = ProblemType(
        "bad-request",
        "The request can't be understood, or asks for more than an answer may hold.",
        "`detail` says what to send instead. The same request will be refused again.",
    )


class UnknownParameter(BadRequest):
    """The query has a parameter that the address doesn't know."""

    title = "Unknown parameter"
    problem_type = ProblemType(
        "unknown-parameter",
        "The query has a parameter that this address doesn't know. It would have no effect: it is probably misspelt, "
        "or meant for another address.",
        "`detail` names the parameters that the address knows. Leave the other one out, or correct it.",
    )


class Unauthorized(EsassistantError):
    """No valid credentials came with the request."""

    status = 401
    title = "Credentials needed"
    problem_type = ProblemType(
        "credentials-needed",
        "The address is for known callers, and the request came without credentials, or with some that aren't right.",
        "Send `Authorization: Bearer` with a token that this service's operator gave you, or log in as staff.",
    )


class Forbidden(EsassistantError):
    """The caller is known, but may not make this request in this way."""

    status = 403
    title = "Refused"
    problem_type = ProblemType(
        "refused",
        "The caller is known, but may not make this request this way: its token lacks the right or the scope, or it is "
        "a change from a browser's session without the CSRF token of its page.",
        "`detail` has the reason. Use a token with what it names, or send the page's in the header `X-CSRFToken`.",
    )


class UnknownAddress(EsassistantError):
    """There is nothing at the address."""

    status = 404
    title = "Not Found"
    problem_type = ProblemType(
        "not-found",
        "There is nothing at this address.",
        "Look for slashes and misspelt words. `/api/openapi.json` has all addresses of the API.",
    )


class MethodNotAllowed(EsassistantError):
    """The address exists, but not for this method."""

    status = 405
    title = "Method not allowed"
    problem_type = ProblemType(
        "method-not-allowed",
        "The address exists, but doesn't answer this method.",
        "Use one of the methods in the header `Allow`.",
    )

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This address answers {', '.join(allowed)}.")
        self.allowed = allowed


class RegistryNotOpen(EsassistantError):
    """The resources are not open: the server runs without lifespan, or is starting or stopping."""

    status = 503
    title = "Not serving"
    problem_type = ProblemType(
        "not-serving",
        "This process starts or ends, or runs under a server that doesn't tell it when it starts.",
        "Ask again, which may reach another process. Operators: run `serve`, the command of this service.",
    )


class WrongLoop(EsassistantError):
    """A live resource was asked for outside the process or event loop that it belongs to."""


class UnknownResource(EsassistantError):
    """No resource of that name was registered."""


class ClusterUnavailable(EsassistantError):
    """Elasticsearch could not be reached, didn't answer in time, or refused our credentials."""

    status = 503
    title = "Elasticsearch unavailable"
    problem_type = ProblemType(
        "elasticsearch-unavailable",
        "The answer isn't in memory, and Elasticsearch could not be asked: it can't be reached, doesn't answer in "
        "time, or refuses this service's credentials.",
        "Ask again after the seconds in `Retry-After`. `/api/health` says what is wrong, and since when.",
    )


class StoreUnavailable(EsassistantError):
    """The shared store of the processes could not be read or written."""

    status = 503
    title = "Store unavailable"
    problem_type = ProblemType(
        "store-unavailable",
        "What the processes of this service share, in Redis or its database, could not be read or written.",
        "Ask again after the seconds in `Retry-After`. Operators: the check `store` of `/api/health` has the cause.",
    )


class StoreRefused(StoreUnavailable):
    """The store answered, but refused the operation: it is read-only or full, or we lack a right."""


class DatabaseUnavailable(EsassistantError):
    """Django's database can't be used; the detail has the cause and the remedy."""

    status = 503
    title = "Database unavailable"
    problem_type = ProblemType(
        "database-unavailable",
        "This service's own database could not be asked. Sessions, pages of staff and the history need it.",
        "Ask again in a moment; a token works without it. `detail` has the cause and what its operator can do.",
    )


class StaleToken(EsassistantError):
    """A write was refused, as its fencing token is older than that of a newer lease."""
