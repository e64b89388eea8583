"""Who asks in a soak: holders of the token for everything, of one that sees some names alone, and strangers."""

from hashlib import sha256
from pathlib import Path

from dev.servers.service import TOKEN

NARROW = "token-of-the-soak-for-steady-names"
SEEN = "steady-*"
"""The names that exist for the holder of `NARROW`: as it is a pattern, no alias of theirs."""
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NARROW_BEARER = {"Authorization": f"Bearer {NARROW}"}
ENTRY = """[[token]]
name = "narrow"
sha256 = "{digest}"
may = ["read"]
indices = ["{seen}"]
"""


def write_tokens(folder: Path) -> Path:
    """The file of tokens of the instances."""
    file = folder / "tokens.toml"
    file.touch(mode=0o600)
    file.write_text(ENTRY.format(digest=sha256(NARROW.encode()).hexdigest(), seen=SEEN))
    return file
