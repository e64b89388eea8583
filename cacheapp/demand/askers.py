"""Which kind of caller asks for a name: set where a request arrives, read where demand is counted."""

import enum
from contextvars import ContextVar


class Asker(enum.Enum):
    """The kind of caller."""

    PROGRAM = "program"
    PERSON = "person"
    AGENT = "agent"


ASKER: ContextVar[Asker] = ContextVar("asker", default=Asker.PROGRAM)
"""The kind of caller of the request that is being answered."""
