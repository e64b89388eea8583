"""The structure holds: imports run one way, floor by floor; modules and functions stay short enough to read."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("esassistant", "cacheapp", "healthapp")
MAX_LINES = 600
MAX_FUNCTION_LINES = 70

FLOORS = {
    "esassistant": (
        (
            *("errors", "clock", "metrics", "advice", "masking", "units", "asgi_types", "instance", "long_work"),
            *("connection_causes", "program", "addresses", "ip_addresses"),
        ),
        (
            *("durations", "single_flight", "tasks", "error_reports", "sliding_window", "resource", "config"),
            "shared_values",
        ),
        ("breaker", "log_handler", "database", "windows", "followed_file"),
        ("registry", "elasticsearch", "deployment"),
        ("http", "lifespan"),
        ("api", "api_page", "templatetags"),
        ("views", "settings", "apps", "application", "urls", "management", "command_line"),
        ("asgi", "embedding", "root_urls"),
    ),
    "cacheapp": (
        ("errors", "reports", "change_reports", "rows"),
        ("models",),
        ("search_rules",),
        ("mapping",),
        ("state", "queries"),
        ("cluster", "stores", "describe"),
        ("change_log",),
        ("shown_changes", "demand"),
        ("values",),
        ("cache", "history", "instances"),
        ("validation", "recent_counts"),
        ("index_name_queries", "search_target"),
        ("sync", "search", "browse", "webhooks", "feed"),
        ("mcp",),
        ("views", "advice", "panels", "management", "templatetags"),
        ("admin", "urls", "apps"),
    ),
}
"""The rooms of each app, from the ground up. A room uses those of the floors below, and none of its own floor but
these:
"""
ON_ONE_FLOOR = {("views", "urls"), ("panels", "apps"), ("views", "api")}

BETWEEN_APPS = {
    ("cacheapp", "esassistant"),
    ("healthapp", "esassistant"),
    ("healthapp", "cacheapp.reports"),
    ("healthapp", "cacheapp.change_reports"),
}
"""All arrows between the apps. The kernel knows neither app; of cacheapp, healthapp knows the types of its reports
alone.
"""

TOOLS = {
    "dev": {*PRODUCT, "dev"},
    "bench": {*PRODUCT, "dev", "bench"},
    "tests": {*PRODUCT, "dev", "bench", "tests"},
}
"""What the folders beside the product may use: nothing uses the tests."""

MODULES = sorted(path for folder in (*PRODUCT, *TOOLS) for path in (ROOT / folder).rglob("*.py"))
OWN = {*PRODUCT, *TOOLS}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


NAMES = {name_of(path) for path in MODULES}
TESTS = [path for path in MODULES if name_of(path).startswith("tests.")]


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from cacheapp import reports` names a room as `from cacheapp.reports import X` does.
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in NAMES or "." not in node.module else node.module for name in named]
        else:
            continue
        yield from (name for name in found if name.partition(".")[0] in OWN)


@functools.cache
def arrows() -> list[tuple[str, str]]:
    """Which module imports which. Not found at import: each process that collects tests would parse all modules."""
    return [(name_of(path), imported) for path in MODULES for imported in sorted(set(imports(path)))]


def rooms(module: str) -> tuple[str, str]:
    """The app or folder of a module, and the room in it."""
    app, _, rest = module.partition(".")
    return app, rest.partition(".")[0]


@pytest.mark.parametrize("app", FLOORS)
def test_imports_run_down(app: str) -> None:
    """A room uses rooms of the floors below it."""
    floor_of = {room: floor for floor, on_floor in enumerate(FLOORS[app]) for room in on_floor}
    wrong = []
    for module, imported in arrows():
        (own_app, room), (other_app, other) = rooms(module), rooms(imported)
        if own_app != app or other_app != app or room == other or "migrations" in module:
            continue
        if floor_of[other] >= floor_of[room] and (other, room) not in ON_ONE_FLOOR:
            wrong.append(f"{module} imports {imported}")
    assert wrong == []


@pytest.mark.parametrize("app", FLOORS)
def test_every_room_has_a_floor(app: str) -> None:
    """What is new in an app gets its place here, and what is gone leaves it."""
    there = {path.name.removesuffix(".py") for path in (ROOT / app).glob("*.py") if path.name != "__init__.py"}
    there |= {path.parent.name for path in (ROOT / app).glob("*/__init__.py")} - {"migrations"}
    assert there == {room for floor in FLOORS[app] for room in floor}


def test_apps_know_each_other_by_few_arrows() -> None:
    """Kernel ← apps, and healthapp → the types of cacheapp's reports; nothing of the product uses tools or tests."""
    wrong = [
        f"{module} imports {imported}"
        for module, imported in arrows()
        for app, other in [(rooms(module)[0], rooms(imported)[0])]
        if app in PRODUCT and app != other and not {(app, other), (app, ".".join(rooms(imported)))} & BETWEEN_APPS
    ]
    assert wrong == []


def test_nothing_uses_the_tests() -> None:
    """dev uses the product, bench uses dev, the tests use all; a module of the tests isn't named in a string either."""
    wrong = [
        f"{module} imports {imported}"
        for module, imported in arrows()
        if (folder := rooms(module)[0]) in TOOLS and rooms(imported)[0] not in TOOLS[folder]
    ]
    named = [
        f"{name_of(path)} names {node.value!r}"
        for path in MODULES
        if rooms(name_of(path))[0] != "tests"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"(?<![\w./'-])tests\.[a-z_]+(\.|$)", node.value)
    ]
    assert wrong + named == []


def test_no_circles() -> None:
    """Within a room and between them, no module imports one that imports it back."""
    known = {name_of(path).removesuffix(".__init__") for path in MODULES}
    below: dict[str, set[str]] = {name: set() for name in known}
    for module, imported in arrows():
        target = imported if imported in known else imported.rpartition(".")[0]
        if target in known:
            below[module.removesuffix(".__init__")].add(target)
    circles: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            circles.append(" → ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for other in sorted(below[module]):
                visit(other, (*path, module))
            done.add(module)

    for name in sorted(known):
        visit(name, ())
    assert circles == []


def test_the_environment_has_one_reader() -> None:
    """Only settings.py reads the process's environment; and before it the command line, which makes a new home."""
    readers = [
        name_of(path)
        for path in MODULES
        if rooms(name_of(path))[0] in PRODUCT and re.search(r"os\.environ(?!\.setdefault)|os\.getenv", path.read_text())
    ]
    assert readers == ["esassistant.command_line", "esassistant.settings"]


def test_nothing_is_too_long() -> None:
    """A module that outgrows 600 lines holds more than one thing; a function that outgrows 70 does."""
    modules = [name_of(path) for path in MODULES if path.read_text().count("\n") > MAX_LINES]
    functions = [
        f"{name_of(path)}.{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert modules + functions == []


TIME = frozenset({"asyncio", "time", "monotonic", "now_utc", "sleep"})


def our_modules(tree: ast.AST) -> set[str]:
    """What a module calls the modules of ours that it imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name for alias in node.names if alias.name in NAMES}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names if f"{node.module}.{alias.name}" in NAMES}
    return found


def patched(tree: ast.AST) -> Iterator[str | None]:
    """What a test sets on a module or an object: the names in `setattr(target, "name", …)`, `setattr("a.b.name", …)`
    and `patch("a.b.name")`, whatever `setattr` and `patch` are called on; and in `module.name = …`, of a module of
    ours. None: a name of such a module that isn't written there, as in a loop over several.
    """
    modules = our_modules(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and not isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) in modules
        ):
            yield node.attr
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function not in ("setattr", "patch", "object"):
            continue
        texts = [word.value for word in node.args[:2] if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if texts:
            yield texts[0].rpartition(".")[2]
        elif ast.unparse(node.args[0]) in modules:
            yield None


SETTING = {
    'patch.setattr(module, "asyncio", x)': {"asyncio"},
    'setattr(module, "SECONDS_2", x)': {"SECONDS_2"},
    'monkeypatch.setattr("healthapp.monitor.FIRST_RECHECK_SECONDS", 1)': {"FIRST_RECHECK_SECONDS"},
    'mock.patch("healthapp.monitor.monotonic")': {"monotonic"},
    'mock.patch.object(module, "sleep")': {"sleep"},
    "module.SECONDS = 1": {"SECONDS"},
    "for name in names: patch.setattr(module, name, 1)": {None},
    "settings.DEBUG = module.SECONDS; setattr(report, name, 1)": set(),
}


@pytest.mark.parametrize("code", SETTING)
def test_what_is_set_is_found(code: str) -> None:
    """Each way to set something on a module is seen; what is set elsewhere, or only read, is not."""
    assert set(patched(ast.parse(f"from healthapp import monitor as module\n{code}"))) == SETTING[code]


def test_time_is_injected() -> None:
    """No test sets a module's asyncio, clock, sleep or constants: what a test wants otherwise is an argument.

    The whole machine's clock (`time.time`) is another matter: one test moves that, as an administrator would.
    """
    wrong = {
        (name_of(path), name)
        for path in TESTS
        for name in patched(ast.parse(path.read_text()))
        if name is None or name in TIME or re.fullmatch("[A-Z][A-Z0-9_]+", name)
    }
    assert wrong == {("tests.faults.test_clock_jumps", "time")}


def test_tests_share_by_support() -> None:
    """No test imports another, nor a conftest: what tests share is in tests/support."""
    wrong = [
        f"{module} imports {name}"
        for module, name in arrows()
        if module.startswith("tests.")
        and "tests." in name
        and name.rpartition(".")[2].startswith(("test_", "conftest"))
    ]
    assert wrong == []
