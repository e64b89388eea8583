"""What the link says of a Redis that answers, and refuses; tests/stores has the rest on a real one."""

import pytest
from redis.exceptions import (
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from cacheapp.stores.redis.link import refusal

SECRET = "user app with password 1234"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ReadOnlyError(SECRET, status_code="READONLY"), "(READONLY). Name the primary"),
        (OutOfMemoryError(SECRET, status_code="OOM"), "(OOM). Raise its maxmemory"),
        (NoPermissionError(SECRET, status_code="NOPERM"), "(NOPERM). Grant"),
        (ResponseError(f"MISCONF {SECRET}"), "(MISCONF). Its log"),
        (ResponseError(f"NOREPLICAS {SECRET}"), "(NOREPLICAS). Start them"),
        (ResponseError(f"ERR Error running script (call to f_1): @user_script:3: -READONLY {SECRET}"), "(READONLY)"),
        (ResponseError(f"BUSY {SECRET}"), "failed (BUSY)."),
        (ResponseError(SECRET), "failed (ResponseError)."),
        (InvalidResponse(SECRET), "failed (InvalidResponse)."),
    ],
)
def test_refusals(error: Exception, why: str) -> None:
    """Told by the code that Redis gives, wherever it stands; the rest of its text is not shown."""
    found = refusal(error)
    assert why in found
    assert SECRET not in found
