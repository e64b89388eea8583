"""Errors that reach a caller, and the types of problems that they are."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import cacheapp
import esassistant
import healthapp
from esassistant.errors import BadRequest, EsassistantError, ProblemType, problem_types

INNER = {"WrongLoop", "OpenFailed", "UnknownResource", "StaleToken", "WatchRefused", "VersionsRefused"}
"""They never reach a caller, unless by a bug: then they are internal errors."""


def modules_of(package: ModuleType) -> Iterator[str]:
    """The names of all modules below a package but its settings, commands and migrations."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not any(part in found.name for part in (".settings", ".management", ".migrations", ".asgi")):
            yield found.name


def classes_of(base: type[EsassistantError]) -> Iterator[type[EsassistantError]]:
    """All classes below `base` that are the project's own."""
    for found in base.__subclasses__():
        if found.__module__.split(".")[0] in ("esassistant", "cacheapp", "healthapp"):
            yield found
            yield from classes_of(found)


@pytest.fixture(scope="module")
def errors() -> set[type[EsassistantError]]:
    """All error classes of the project, wherever they stand."""
    for package in (esassistant, cacheapp, healthapp):
        for name in modules_of(package):
            importlib.import_module(name)
    return {EsassistantError, *classes_of(EsassistantError)}


def test_each_has_a_type_of_its_status_and_title(errors: set[type[EsassistantError]]) -> None:
    """Every error has a type, and all errors of a type have the status and title that its page shows."""
    for error in errors:
        declared = problem_types()[error.problem_type.name]
        assert declared.problem_type == error.problem_type
        assert (error.status, error.title) == (declared.status, declared.title), error.__name__
        assert (error.problem_type.name == "internal-error") == (error.__name__ in INNER | {"EsassistantError"}), error


def test_types_are_explained(errors: set[type[EsassistantError]]) -> None:
    """Each type has a name that fits an address, says what it means and what to do, in sentences."""
    for name, error in problem_types().items():
        assert name == error.problem_type.name == name.lower()
        assert name.replace("-", "").isalpha()
        for text in (error.problem_type.meaning, error.problem_type.remedy):
            assert text[0].isupper() or text[0] == "`", text
            assert text.endswith("."), text


def test_an_error_of_your_own() -> None:
    """One that declares nothing has the type of its base if it has its status too, else none; it may declare one."""

    class TooManyNames(BadRequest):
        title = "Too many names"

    class Gone(EsassistantError):
        status = 410

    class Full(EsassistantError):
        status = 507
        problem_type = ProblemType("full-for-a-test", "It is full.", "Wait.")

    try:
        assert TooManyNames("x").type_uri == "/problems/bad-request"
        assert Gone("x").type_uri == "about:blank"
        assert Full("x").type_uri == "/problems/full-for-a-test"
        assert problem_types()["full-for-a-test"] is Full
    finally:
        del problem_types()["full-for-a-test"]  # type: ignore[attr-defined]  # nothing of it is left to other tests
