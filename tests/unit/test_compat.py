"""`make test-compat`: which environments it makes, and what it says of what it can't run."""

from pathlib import Path

import pytest

from dev import compat
from dev.compat import Pair, Result, pinned, replaced, requirements, run, table
from dev.elasticsearch import install

PAIR = Pair("9.5.1", "9.5.3", {})


def test_the_client_is_replaced() -> None:
    """A pair's environment is the project's own, apart from the client and what that needs."""
    own = requirements("requirements-dev.txt")
    other = replaced(own, {"elasticsearch": "9.0.0", "opentelemetry-sdk": "1.0.0"})
    assert set(other) - set(own) == {"elasticsearch==9.0.0", "opentelemetry-sdk==1.0.0"}
    assert set(own) - set(other) == {f"elasticsearch=={pinned(own)['elasticsearch']}"}
    assert all("==" in line for line in other)


@pytest.mark.parametrize(
    ("releases", "reason"),
    [
        ([17], "left out: Elasticsearch 9.5.3 needs a JDK 21 or newer; found 17"),
        ([17, 11, 17], "left out: Elasticsearch 9.5.3 needs a JDK 21 or newer; found 11, 17"),
        ([], "left out: Elasticsearch 9.5.3 needs a JDK 21 or newer; found none"),
    ],
)
def test_what_java_cannot_run_is_left_out(monkeypatch: pytest.MonkeyPatch, releases: list[int], reason: str) -> None:
    """A node that needs a newer Java than there is is left out, and the table says which were found; that's no failure."""
    candidates = [Path(f"/{number}/{release}") for number, release in enumerate(releases)]
    monkeypatch.setattr(install, "_java_candidates", lambda: iter(candidates))
    monkeypatch.setattr(install, "_inspect_java", lambda candidate: (candidate, int(candidate.name)))
    result = run(PAIR, ())
    assert (result.verdict, result.failed) == (reason, False)
    assert reason in table([result])


def test_a_new_enough_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """One JDK that is new enough is enough, wherever it stands."""
    monkeypatch.setattr(install, "_java_candidates", lambda: iter([Path("/17"), Path("/21"), Path("/broken")]))
    monkeypatch.setattr(
        install,
        "_inspect_java",
        lambda candidate: (None, 0) if candidate.name == "broken" else (candidate, int(candidate.name)),
    )
    assert install.java_missing("9.5.3") is None


def test_failures_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One pair that fails makes the whole fail, after the others were run; the table names it."""
    verdicts = iter(["passed in 1 s", "failed: pytest ended with 1", "left out: no Java"])
    monkeypatch.setattr(compat, "require_java", lambda _: None)
    monkeypatch.setattr(compat, "run", lambda pair, _: Result(pair, next(verdicts)))
    assert compat.main(()) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in shown[2:]] == ["passed", "failed:", "left"]
