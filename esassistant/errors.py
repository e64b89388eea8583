"""Errors that reach a caller. Each class carries what HTTP says of it; the message is written for the person who reads
it.

A message never contains a secret or the raw text of another exception: those go to the log, scrubbed.
"""

from typing import ClassVar


class EsassistantError(Exception):
    """Base of the project's own errors.

    `status` and `title` are what a problem+json answer shows; `retry_after_seconds` becomes the `Retry-After` header.
    `detail` is for callers; `operator_detail` says the same with host and port, for logs, health and the status page.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self, detail: str, *, retry_after_seconds: float | None = None, operator_detail: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.operator_detail = operator_detail or detail
        self.retry_after_seconds = retry_after_seconds


class BadRequest(EsassistantError):
    """The request can't be understood; the detail says what to send instead."""

    status = 400
    title = "Bad request"


class Unauthorized(EsassistantError):
    """No valid credentials came with the request."""

    status = 401
    title = "Credentials needed"


class Forbidden(EsassistantError):
    """The caller is known, but the request is not one that it may make this way."""

    status = 403
    title = "Refused"


class MethodNotAllowed(EsassistantError):
    """The address exists, but not for this method."""

    status = 405
    title = "Method not allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This address answers {', '.join(allowed)}.")
        self.allowed = allowed


class RegistryNotOpen(EsassistantError):
    """The resources are not there: the server runs without lifespan, or is starting or ending."""

    status = 503
    title = "Not serving"


class WrongLoop(EsassistantError):
    """A live resource was asked for outside the process or event loop that it belongs to."""


class UnknownResource(EsassistantError):
    """No resource of that name was registered."""


class ClusterUnavailable(EsassistantError):
    """Elasticsearch could not be reached, didn't answer in time, or refused our credentials."""

    status = 503
    title = "Elasticsearch unavailable"


class StoreUnavailable(EsassistantError):
    """The store that processes share could not be read or written."""

    status = 503
    title = "Store unavailable"


class StoreRefused(StoreUnavailable):
    """The store answers, and refuses what was asked of it: it can be read only, is full, or lacks a right."""


class DatabaseUnavailable(EsassistantError):
    """Django's database could not be asked; the detail has the cause and the remedy."""

    status = 503
    title = "Database unavailable"


class StaleToken(EsassistantError):
    """A write came with a fencing token that a newer lease has overtaken; the write was refused."""
