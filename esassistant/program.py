"""The name of this installation's command, for messages that tell somebody what to run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final


def program_of(arguments: Sequence[str]) -> str:
    """Return `esassistant` if this process was started by that command, which the wheel installs. Otherwise return
    `manage.py`, of a checkout or of the project that embeds this service.
    """
    called = Path(arguments[0]).stem if arguments else ""
    return called if called == "esassistant" else "manage.py"


PROGRAM: Final = program_of(sys.argv)
"""The name for this process. The workers of `serve` have the arguments of their parent."""
