"""docs/settings.md lists every setting, and no other."""

import re
from pathlib import Path

from esassistant import settings

DOCUMENTED = re.compile(r"^\| `([A-Z_]+)` \| (\S.*?) \|", re.MULTILINE)
ROOT = Path(settings.BASE_DIR)
READ_EARLIER = {"ESASSISTANT_ENV_FILE"}
"""Names the file that the others are read from, so no `Reader` knows it."""


def test_every_setting_is_documented() -> None:
    """What the code reads and what the document lists are the same names."""
    documented = dict(DOCUMENTED.findall((ROOT / "docs" / "settings.md").read_text()))
    assert set(documented) == set(settings.read.settings) | READ_EARLIER


def test_documented_defaults_are_true() -> None:
    """A number or truth value that the document gives as default is the one in force."""
    documented = dict(DOCUMENTED.findall((ROOT / "docs" / "settings.md").read_text()))
    for name, setting in settings.read.settings.items():
        if isinstance(setting.default, bool):
            assert documented[name] == f"`{str(setting.default).lower()}`", name
        elif isinstance(setting.default, int | float):
            assert documented[name] == f"`{setting.default:g}`", name
