"""docs/operations.md has a section for each sentence that the verdict can say, and none for others."""

import re

from dev.servers.service import ROOT
from healthapp.findings import Trouble
from healthapp.verdict import NOTHING_KNOWN, STARTING

SECTIONS = re.split(r"^#### (verdict-[a-z-]+)$", (ROOT / "docs" / "operations.md").read_text(), flags=re.MULTILINE)[1:]


def test_each_sentence_has_its_section() -> None:
    """What `next_step` leads to is there, with something to read."""
    documented = dict(zip(SECTIONS[::2], SECTIONS[1::2], strict=True))
    assert set(documented) == {STARTING, *(trouble.section for trouble in Trouble)}
    for section, text in documented.items():
        assert re.match(r"\n\n\*.+\*", text), section
        assert len(text.split("\n#")[0].split()) >= 15, section
    assert (NOTHING_KNOWN.next_step or "").endswith(f"#{STARTING}")
