"""What `make run` says to try."""

from dataclasses import replace

import pytest
from pytest_django import Settings

from dev.run import what_to_try
from esassistant.config.model import Details

HEADER = '-H "Authorization: Bearer $TOKEN"'


@pytest.mark.parametrize("details", Details)
def test_commands_have_a_token_where_they_need_one(settings: Settings, details: Details) -> None:
    """Where strangers may not read each command but that of health has it, and how to get it stands before them."""
    said = what_to_try(replace(settings.ESASSISTANT, details=details), 8123, samples=True)
    commands = [line.strip() for line in said.splitlines() if line.startswith("  curl")]
    without = [command for command in commands if HEADER not in command]
    assert len(commands) == 5
    assert all(":8123/api/" in command for command in commands)
    if details is Details.AUTHORIZED:
        assert without == ["curl http://127.0.0.1:8123/api/health"]
    else:
        assert [command for command in commands if HEADER in command] == [next(c for c in commands if "POST" in c)]
    assert said.index("  TOKEN=") < said.index("  curl")


def test_where_the_token_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from .env, or is the one that was set in the environment, which isn't printed."""
    monkeypatch.delenv("ESASSISTANT_API_TOKENS", raising=False)
    assert "TOKEN=$(sed -n s/^ESASSISTANT_API_TOKENS=//p " in what_to_try(settings.ESASSISTANT, 8000, samples=False)
    monkeypatch.setenv("ESASSISTANT_API_TOKENS", "a-token-of-the-environment")
    said = what_to_try(settings.ESASSISTANT, 8000, samples=False)
    assert "set as ESASSISTANT_API_TOKENS" in said
    assert "a-token-of-the-environment" not in said
