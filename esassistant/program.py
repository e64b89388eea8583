"""What the command of this installation is called, for messages that tell somebody what to run."""

import sys
from pathlib import Path
from typing import Final


def program_of(arguments: list[str]) -> str:
    """The command's name by how this process was started: `esassistant`, which a wheel installs, else `manage.py`, of a
    checkout or of the project that this one is embedded in.
    """
    called = Path(arguments[0]).stem if arguments else ""
    return called if called == "esassistant" else "manage.py"


PROGRAM: Final = program_of(sys.argv)
"""Of this process; the workers of `serve` have the arguments of their parent."""
