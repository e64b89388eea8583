from collections.abc import Mapping
from typing import Any


def json_schema(name: str, mappings: Mapping[str, bytes]) -> dict[str, Any]:
    return {}
