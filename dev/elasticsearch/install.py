"""Puts an Elasticsearch node together: Maven fetches its jars, a JDK compiles its launcher."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dev.packages import MissingPackage, require, say, which

DEFAULT_VERSION = "8.19.21"

SOURCES = Path(__file__).resolve().parent
CACHE = SOURCES.parents[1] / ".cache" / "elasticsearch"
POM = SOURCES / "pom.xml"
JAVA_SOURCES = (SOURCES / "Launcher.java", SOURCES / "RootHandler.java")

NETTY_DESCRIPTOR = """\
name=transport-netty4
description=HTTP and transport
classname=org.elasticsearch.transport.netty4.Netty4Plugin
version={version}
elasticsearch.version={version}
java.version={java}
has.native.controller=false
extended.plugins=
modulename=
"""


class NodeError(Exception):
    """What went wrong, and what to do about it."""


class MissingTool(NodeError):
    pass


def java_for(version: str) -> Path | None:
    """The first JDK's `java` that is new enough for this Elasticsearch: JAVA_HOME, PATH, then the installed JDKs."""
    for candidate in _java_candidates():
        java, release = _inspect_java(candidate)
        if java is not None and release >= _required_java(version):
            return java
    return None


def java_missing(version: str) -> str | None:
    """Why this machine's JDKs can't run this Elasticsearch; None when one can."""
    releases = sorted({release for java, release in map(_inspect_java, _java_candidates()) if java is not None})
    required = _required_java(version)
    if releases and releases[-1] >= required:
        return None
    found = f"found {', '.join(map(str, releases))}" if releases else "found none"
    return f"Elasticsearch {version} needs a JDK {required} or newer; {found}"


def install(version: str = DEFAULT_VERSION) -> Path:
    """Fetch and compile what a node needs, unless that is done already; returns its home directory."""
    if not re.fullmatch(r"[89]\.\d+\.\d+", version):
        raise NodeError(f"{version!r} is not a supported Elasticsearch version: give one like {DEFAULT_VERSION}")
    home = CACHE / version
    stamp = _stamp(version)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "stamp").exists() or (home / "stamp").read_text() != stamp:
            say(f"installing Elasticsearch {version} into {home}")
            scratch = CACHE / f"{version}.part"
            shutil.rmtree(scratch, ignore_errors=True)
            _build(scratch / "new", version)
            (scratch / "new" / "stamp").write_text(stamp)
            if home.exists():
                home.rename(scratch / "old")
            (scratch / "new").rename(home)
            shutil.rmtree(scratch)
    return home


def _build(home: Path, version: str) -> None:
    java = require_java(version)
    maven = _require(lambda: which("mvn"), "maven", "Maven (mvn) is missing")
    _run(
        [str(maven), "-q", "-B", "-f", str(POM), f"-Dhome={home}", f"-Delasticsearch.version={version}", "validate"],
        f"Maven could not fetch Elasticsearch {version}: check the version and the network, then try again",
    )
    required = _required_java(version)
    descriptor = NETTY_DESCRIPTOR.format(version=version, java=required)
    (home / "modules" / "transport-netty4" / "plugin-descriptor.properties").write_text(descriptor)
    (home / "config").mkdir()
    classpath = ["-cp", f"{home / 'lib'}/*", "-d", str(home / "launcher")]
    _run(
        [str(java.with_name("javac")), "-proc:none", "--release", str(required), *classpath, *map(str, JAVA_SOURCES)],
        f"the launcher does not compile against Elasticsearch {version}: use {DEFAULT_VERSION}, or adapt {SOURCES}",
    )


def _stamp(version: str) -> str:
    digest = hashlib.sha256((version + NETTY_DESCRIPTOR).encode())
    for source in (POM, *JAVA_SOURCES):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _required_java(version: str) -> int:
    return 17 if version.startswith("8.") else 21


def _java_candidates() -> Iterator[Path]:
    if java_home := os.environ.get("JAVA_HOME"):
        yield Path(java_home, "bin", "java")
    if on_path := which("java"):
        yield on_path
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))


def _inspect_java(candidate: Path) -> tuple[Path | None, int]:
    """The real path of a `java` that has its `javac` beside it, and its release. Asking it sees through wrappers."""
    try:
        answer = subprocess.run(
            [candidate, "-XshowSettings:properties", "-version"], capture_output=True, text=True, timeout=30
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None, 0
    found = dict(re.findall(r"^ *(java\.home|java\.specification\.version) = (.+)$", answer, re.MULTILINE))
    java = Path(found.get("java.home", ""), "bin", "java")
    release = found.get("java.specification.version", "")
    if not release.isdecimal() or not java.with_name("javac").exists():
        return None, 0
    return java, int(release)


def require_java(version: str) -> Path:
    return _require(
        lambda: java_for(version),
        "default-jdk-headless",
        f"Elasticsearch {version} needs a JDK (java and javac) {_required_java(version)} or newer, and none was found; "
        "if one is installed, set JAVA_HOME",
    )


def _require(find: Callable[[], Path | None], package: str, problem: str) -> Path:
    try:
        return require(find, package, problem)
    except MissingPackage as error:
        raise MissingTool(str(error)) from None


def _run(command: Sequence[str], problem: str) -> None:
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-15:])
        raise NodeError(f"{problem}\n{Path(command[0]).name} said:\n{tail}")
