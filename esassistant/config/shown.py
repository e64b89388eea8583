"""The settings in force in a form for people, with secrets masked: for `manage.py config` and the status page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from esassistant.config.model import ROLLBACK_VARIABLES, NodeUrls, Origin, Setting
from esassistant.masking import mask_text

NOT_SET = "not set"


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One setting as it is shown, with secrets masked. `default` is None if the default is in force.

    Numbers and booleans keep their type; everything else becomes text.
    """

    name: str
    value: bool | float | str
    origin: str
    default: bool | float | str | None

    @classmethod
    def from_setting(cls, setting: Setting, profile: str) -> Self:
        default = _shown(replace(setting, value=setting.default)) if _is_changed(setting) else None
        return cls(setting.name, _shown(setting), _source(setting.origin, profile), default)

    def cells(self) -> tuple[str, ...]:
        """Return name, value, default and origin, as they are written in the environment. The default is empty if it is
        in force.
        """
        default = "" if self.default is None else _text(self.default)
        return (self.name, _text(self.value), default, self.origin)


def shown_settings(known: Mapping[str, Setting]) -> list[ShownSetting]:
    """Return all settings, in the order of their names."""
    profile = known["ESASSISTANT_PROFILE"].value
    return [ShownSetting.from_setting(known[name], profile) for name in sorted(known)]


def _is_changed(setting: Setting) -> bool:
    return bool(setting.value != setting.default)


def _shown(setting: Setting) -> bool | float | str:
    value = setting.value
    return value if isinstance(value, bool | int | float) and not setting.secret else mask_setting(setting)


def _source(origin: Origin, profile: str) -> str:
    if origin is Origin.PROFILE:
        return f"profile {profile}"
    if origin is Origin.IMPLIED:
        return f"implied by {', '.join(ROLLBACK_VARIABLES)}"
    return str(origin.value)


def _text(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or NOT_SET
    return str(value) if isinstance(value, int) else f"{value:g}"


def mask_setting(setting: Setting) -> str:
    """Return the value of a setting as it may be shown. A secret is only said to be set or not, or how many are set; a
    URL is shown without its credentials.
    """
    value = setting.value
    if isinstance(value, NodeUrls):
        return ", ".join(value.urls)
    if isinstance(value, Mapping):
        return _database_address(value)
    if not setting.secret or setting.name.endswith("_URL"):
        return mask_text(_plain(value))
    if not value:
        return "not set"
    return "set" if isinstance(value, str) else f"{len(value)} set"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    return ", ".join(map(_plain, value)) if isinstance(value, Iterable) else str(value)


def _database_address(database: Mapping[str, Any]) -> str:
    engine = str(database["ENGINE"]).rpartition(".")[2].replace("sqlite3", "sqlite")
    host, port = database.get("HOST") or "", database.get("PORT") or ""
    return f"{engine}://{host}{f':{port}' if port else ''}/{database['NAME']}"
