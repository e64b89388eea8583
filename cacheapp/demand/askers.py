"""Who asks for a name: noted by the doors, read where demand is counted."""

import enum
from contextvars import ContextVar


class Asker(enum.Enum):
    """The kind of caller."""

    PROGRAM = "program"
    PERSON = "person"
    AGENT = "agent"


ASKER: ContextVar[Asker] = ContextVar("asker", default=Asker.PROGRAM)
"""Of the request that is answered."""
