"""The callers in a soak: holders of the token for all names, holders of one that sees only some names, and
strangers.
"""

from hashlib import sha256
from pathlib import Path

from dev.servers.service import TOKEN

NARROW = "token-of-the-soak-for-steady-names"
SEEN = "steady-*"
"""The names that exist for the holder of `NARROW`. It is a pattern of index names; none of their aliases match."""
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NARROW_BEARER = {"Authorization": f"Bearer {NARROW}"}
ENTRY = """[[token]]
name = "narrow"
sha256 = "{digest}"
may = ["read"]
indices = ["{seen}"]
"""


def write_tokens(folder: Path) -> Path:
    """Write the file of tokens of the instances."""
    file = folder / "tokens.toml"
    file.touch(mode=0o600)
    file.write_text(ENTRY.format(digest=sha256(NARROW.encode()).hexdigest(), seen=SEEN))
    return file
