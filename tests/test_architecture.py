"""The structure holds: imports run one way, no module is too long, the kernel knows no app."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "esassistant": {"cacheapp", "healthapp", "tests", "dev", "bench"},
    "cacheapp": {"healthapp", "tests", "dev", "bench"},
    "healthapp": {"cacheapp", "tests", "dev", "bench"},
    "dev": {"tests", "bench"},
}
MAX_LINES = 400
MODULES = sorted(
    path for package in (*FORBIDDEN, "tests", "bench") for path in (ROOT / package).rglob("*.py") if path.is_file()
)


def imports(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_imports_run_one_way() -> None:
    """Kernel ← apps: the kernel imports neither app, and the apps don't import each other."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {package}"
        for path in MODULES
        for package in imports(path)
        if package in FORBIDDEN.get(path.relative_to(ROOT).parts[0], set())
    ]
    assert wrong == []


def test_the_environment_has_one_reader() -> None:
    """Only settings.py reads the process's environment."""
    readers = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.relative_to(ROOT).parts[0] in ("esassistant", "cacheapp", "healthapp")
        and re.search(r"os\.environ(?!\.setdefault)|os\.getenv", path.read_text())
    ]
    assert readers == ["esassistant/settings.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_too_long(path: Path) -> None:
    """A module that outgrows 400 lines holds more than one thing."""
    assert len(path.read_text().splitlines()) <= MAX_LINES
