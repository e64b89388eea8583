"""The processor time and memory of a process on this machine, as the kernel counts them."""

import os
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def memory_of(pid: int) -> dict[str, int]:
    """Return the memory of a process in bytes: `Rss`, and the part that it shares with nobody (`Private`)."""
    found = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    kilobytes = {name: int(value.split()[0]) for name, value in found.items()}
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"Rss": kilobytes["Rss"] * 1024, "Private": private * 1024}
