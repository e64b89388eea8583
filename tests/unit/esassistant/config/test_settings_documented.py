"""docs/settings.md lists every setting, profile and check of the audit, and no other."""

import re
from pathlib import Path

from esassistant import settings
from esassistant.config.audit import RULES

ROOT = Path(settings.BASE_DIR)
DOCUMENT = (ROOT / "docs" / "settings.md").read_text()
DOCUMENTED = dict(re.findall(r"^\| `([A-Z_]+)` \| (\S.*?) \|", DOCUMENT, re.MULTILINE))


def test_every_setting_is_documented() -> None:
    """What the code reads and what the document lists are the same names."""
    assert set(DOCUMENTED) == set(settings.ESASSISTANT_SETTINGS)


def test_documented_defaults_are_true() -> None:
    """A number or truth value that the document gives as default is the one in force."""
    for name, setting in settings.ESASSISTANT_SETTINGS.items():
        if isinstance(setting.default, bool):
            assert DOCUMENTED[name] == f"`{str(setting.default).lower()}`", name
        elif isinstance(setting.default, int | float):
            assert DOCUMENTED[name] == f"`{setting.default}`".replace(".0`", "`"), name


def test_every_profile_is_documented() -> None:
    """The document lists each profile with exactly the lines that it has."""
    documented = {
        name: set(re.findall(r"`([A-Z_]+=\S*)`", sets))
        for name, sets in re.findall(r"^\| `([a-z-]+)` \| \S.*? \| (.*) \|$", DOCUMENT, re.MULTILINE)
    }
    files = {
        path.stem: {line for line in path.read_text().splitlines() if not line.startswith("#")}
        for path in (ROOT / "esassistant" / "config" / "profiles").iterdir()
    }
    assert documented == files


def test_every_check_is_documented() -> None:
    """The document lists each rule of the audit in its order, and names the settings that it looks at first."""
    rows = re.findall(r"^\| `(esassistant\.[EW]\d+)` \| (\S.*) \| \S.* \|$", DOCUMENT, re.MULTILINE)
    assert [check for check, _ in rows] == [rule.id for rule in RULES]
    assert len({rule.id for rule in RULES}) == len(RULES)
    for (_, text), rule in zip(rows, RULES, strict=True):
        if rule.settings:  # else it is about names that are none
            assert re.findall(r"`([A-Z_]{4,})", text)[0] in rule.settings, rule.id
