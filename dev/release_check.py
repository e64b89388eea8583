"""`make release-check`: check whether this state can be released. Version and changelog have to fit together, and the
wheel has to contain what the packages contain, and nothing else.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

from dev.releases import ROOT, unpack

PACKAGES = ("cacheapp", "esassistant", "healthapp")

HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<rest>.*)$", re.MULTILINE)
RELEASED = re.compile(r" - (\d{4}-\d\d-\d\d)")
DIST_INFO = re.compile(r"esassistant-([^/-]+)\.dist-info/")
IMAGE_TAG = re.compile(r'^ +newTag: "(.+)"$', re.MULTILINE)


def main() -> int:
    wheel = _built()
    [version] = {found[1] for name in wheel if (found := DIST_INFO.match(name))}
    problems = [*version_problems(version=version, **_stated()), *wheel_problems(wheel, _tracked(PACKAGES))]
    for problem in problems:
        print(f"release check: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"{version} can be released: git tag --annotate v{version}")
    return 0


def version_problems(*, version: str, changelog: str, openapi: str, kubernetes: str, tags: str) -> Iterator[str]:
    """Yield what doesn't follow the version, which is set in one place.

    Args:
        version: The version of the wheel.
        changelog: The text of CHANGELOG.md, whose first section has to be about that version.
        openapi: The text of the file that `python -m dev.openapi` writes.
        kubernetes: The text of the kustomization, which names the image to run.
        tags: The tags of git, one in a line.
    """
    first = HEADING.search(changelog)
    if first is None:
        yield "CHANGELOG.md has no section: ## [1.2.3] - 2026-12-31"
    elif first["version"] != version:
        yield f"the wheel has version {version}, the first section of CHANGELOG.md is {first['version']}"
    if first is not None:
        yield from _date_problems(first["rest"])
    if (said := json.loads(openapi)["info"]["version"]) != version:
        yield f"openapi.json says {said}: run python -m dev.openapi"
    if (tag := IMAGE_TAG.search(kubernetes)) is None or tag[1] != version:
        yield f"deploy/kubernetes/kustomization.yaml names another image than {version}: newTag"
    if f"v{version}" in tags.split():
        yield f"v{version} is a tag of git already: a release is never changed"


def _date_problems(rest: str) -> Iterator[str]:
    released = RELEASED.fullmatch(rest)
    if released is None:
        yield f"the first section of CHANGELOG.md has no date: it ends with {rest.strip()!r}, not with - 2026-12-31"
        return
    try:
        date.fromisoformat(released[1])
    except ValueError:
        yield f"the date of the first section of CHANGELOG.md is none: {released[1]}"


def wheel_problems(names: Collection[str], tracked: Collection[str]) -> Iterator[str]:
    """Yield the differences between a wheel and the packages in git.

    Args:
        names: The files in the wheel.
        tracked: The files of the packages, as git names them.
    """
    own = {name for name in names if ".dist-info/" not in name}
    if missing := sorted(set(tracked) - own):
        yield f"the wheel lacks {_some(missing)}"
    if other := sorted(own - set(tracked)):
        yield f"the wheel has what git hasn't: {_some(other)}"
    for wanted in ("entry_points.txt", "licenses/LICENSE"):
        if not any(name.endswith(f".dist-info/{wanted}") for name in names):
            yield f"the wheel has no {wanted}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _stated() -> dict[str, str]:
    return {
        "changelog": (ROOT / "CHANGELOG.md").read_text(),
        "openapi": (ROOT / "esassistant" / "openapi.json").read_text(),
        "kubernetes": (ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text(),
        "tags": _git("tag", "--list"),
    }


def _tracked(packages: Collection[str]) -> list[str]:
    return _git("ls-files", "--", *packages).splitlines()


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout


def _built() -> list[str]:
    """Build the wheel of what is committed, in a temporary folder; return the names of the files in it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        unpack("HEAD", source)
        command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source)
        subprocess.run(command, check=True)
        [wheel] = target.glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            return files.namelist()


if __name__ == "__main__":
    sys.exit(main())
