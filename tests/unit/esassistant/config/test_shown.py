"""Settings as people are shown them: with where each value comes from."""

from pathlib import Path

import pytest

from esassistant.config import read
from esassistant.config.model import ROLLBACK_VARIABLES
from esassistant.config.shown import shown_settings

GOOD = {"SECRET_KEY": "only-for-tests"}


@pytest.mark.parametrize(
    ("environment", "name", "cells"),
    [
        ({}, "MAPPING_CACHE_MAX_STALE", ("86400", "", "default")),
        ({"MAPPING_CACHE_MAX_STALE": "60"}, "MAPPING_CACHE_MAX_STALE", ("60", "86400", "environment")),
        (
            {"ESASSISTANT_PROFILE": "rollback"},
            "MAPPING_CACHE_MAX_STALE",
            ("0", "86400", "profile rollback"),
        ),
        (
            {name: str(value) for name, value in ROLLBACK_VARIABLES.items()},
            "ESASSISTANT_PROFILE",
            ("rollback", "none", f"implied by {', '.join(ROLLBACK_VARIABLES)}"),
        ),
    ],
)
def test_where_a_value_comes_from(
    tmp_path: Path, environment: dict[str, str], name: str, cells: tuple[str, str, str]
) -> None:
    """Value, default where it differs, and origin: also of what a profile sets, and of a profile that other settings
    imply.
    """
    _, known = read({**GOOD, **environment}, tmp_path)
    [row] = [setting for setting in shown_settings(known) if setting.name == name]
    assert row.cells() == (name, *cells)
