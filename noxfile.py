"""`make test-compat`: a session for each combination in dev/compat.py. By hand: `.venv/bin/python -m nox --list`, then
`.venv/bin/python -m nox --session NAME -- -k words`. What this machine lacks is skipped, with the reason.
"""

from pathlib import Path

import nox

from dev.compat import Combination, combinations, left_out, replaced, requirements
from dev.pythons import find_python

nox.options.envdir = ".cache/compat"
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "venv"

NO_TESTS = 5
"""pytest's exit code when none was chosen."""


def declare(combination: Combination) -> None:
    """Make a session of a combination."""
    reason = left_out(combination)
    python = find_python(combination.python) if combination.python else None

    @nox.session(name=combination.name, python=False if reason else str(python) if python else None)
    def session(session: nox.Session) -> None:
        if reason:
            session.skip(reason)
        wanted = Path(session.virtualenv.location) / "wanted.txt"
        wanted.write_text("\n".join(replaced(requirements("requirements-dev.txt"), combination.pins)) + "\n")
        session.install("--quiet", "--disable-pip-version-check", "-r", str(wanted))
        # Of chosen tests (ARGS="-k watch") not each combination has some.
        codes = [0, NO_TESTS] if session.posargs else [0]
        options = ("-p", "no:cacheprovider", "--no-header", *combination.tests, *session.posargs)
        env = {"ESASSISTANT_TEST_ELASTICSEARCH": combination.node}
        session.run("python", "-m", "pytest", *options, env=env, success_codes=codes)


for each in combinations():
    declare(each)
