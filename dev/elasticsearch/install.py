"""Install an Elasticsearch node: Maven fetches its jars, a JDK compiles its launcher."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dev.packages import MissingPackage, require, say, which

DEFAULT_VERSION = "8.19.21"

SOURCES = Path(__file__).resolve().parent
CACHE = SOURCES.parents[1] / ".cache" / "elasticsearch"
POM = SOURCES / "pom.xml"
JAVA_SOURCES = (SOURCES / "Launcher.java", SOURCES / "RootHandler.java")
SECURITY_POM = SOURCES / "security.xml"
SECURITY_SOURCE = SOURCES / "SecurityAnalysis.java"

DESCRIPTOR = """\
name={name}
description=for development and tests
classname={classname}
version={version}
elasticsearch.version={version}
java.version={java}
has.native.controller=false
extended.plugins={extends}
modulename=
"""
NETTY = ("transport-netty4", "org.elasticsearch.transport.netty4.Netty4Plugin", "")
SECURITY = (
    ("x-pack-core", "org.elasticsearch.xpack.core.XPackPlugin", ""),
    ("x-pack-security", "org.elasticsearch.xpack.security.Security", "x-pack-core"),
    (SECURITY_SOURCE.stem, SECURITY_SOURCE.stem, ""),
)
"""The additional modules of a secured node: name, class, and the module that it extends."""
SUPERUSER, PASSWORD = "admin", "only-for-tests"
SECURITY_FILES = {
    # The hash of PASSWORD, as `elasticsearch-users passwd` writes it.
    "users": f"{SUPERUSER}:{{PBKDF2}}10000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    "$tWdqYg6HTwwzoUUZsRB880ZVVOieWaCMNsarSiiotDw=\n",
    "users_roles": f"superuser:{SUPERUSER}\n",
    "roles.yml": "",
    "role_mapping.yml": "",
}
"""Files under config/, with the one user that a secured node begins with. The password is no secret: the node listens
on 127.0.0.1, and with the password everybody may do what they may do on a node without security.
"""


class NodeError(Exception):
    """A node can't be installed or doesn't work; the text says what is wrong, and what to do about it."""


class MissingTool(NodeError):
    pass


class CannotFetch(NodeError):
    """Maven could not fetch the jars."""


def java_for(version: str) -> Path | None:
    """Return the `java` of the first JDK that is new enough for this Elasticsearch: from JAVA_HOME, from PATH, then
    from the installed JDKs.
    """
    for candidate in _java_candidates():
        java, release = _inspect_java(candidate)
        if java is not None and release >= _required_java(version):
            return java
    return None


def java_missing(version: str) -> str | None:
    """Return why this machine's JDKs can't run this Elasticsearch; None if one can."""
    releases = sorted({release for java, release in map(_inspect_java, _java_candidates()) if java is not None})
    required = _required_java(version)
    if releases and releases[-1] >= required:
        return None
    found = f"found {', '.join(map(str, releases))}" if releases else "found none"
    return f"Elasticsearch {version} needs a JDK {required} or newer; {found}"


def install(version: str = DEFAULT_VERSION, *, secured: bool = False) -> Path:
    """Fetch and compile what a node needs, unless that was done already; return its home directory. Raise `NodeError`
    if that fails, or for a version that is not supported.

    `secured`: with x-pack's security, which is under the Elastic License; it is fetched for tests and never shipped.
    """
    if not re.fullmatch(r"[89]\.\d+\.\d+", version):
        raise NodeError(f"{version!r} is not a supported Elasticsearch version: give one like {DEFAULT_VERSION}")
    name = f"{version}-secured" if secured else version
    home = CACHE / name
    stamp = _stamp(version, secured)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "stamp").exists() or (home / "stamp").read_text() != stamp:
            say(f"installing Elasticsearch {version} into {home}")
            scratch = CACHE / f"{name}.part"
            shutil.rmtree(scratch, ignore_errors=True)
            _build(scratch / "new", version)
            if secured:
                _add_security(scratch / "new", version)
            (scratch / "new" / "stamp").write_text(stamp)
            if home.exists():
                home.rename(scratch / "old")
            (scratch / "new").rename(home)
            shutil.rmtree(scratch)
    return home


def _build(home: Path, version: str) -> None:
    _fetch(POM, home, version)
    _describe(home, version, *NETTY)
    (home / "config").mkdir()
    _compile(home, version, home / "launcher", *JAVA_SOURCES)


def _add_security(home: Path, version: str) -> None:
    _fetch(SECURITY_POM, home, version)
    analysis = home / "modules" / SECURITY_SOURCE.stem
    classes = home / "classes"
    _compile(home, version, classes, SECURITY_SOURCE)
    analysis.mkdir()
    with zipfile.ZipFile(analysis / "analysis.jar", "w") as jar:
        for compiled in classes.glob("*.class"):
            jar.write(compiled, compiled.name)
    shutil.rmtree(classes)
    for module in SECURITY:
        _describe(home, version, *module)
    for name, text in SECURITY_FILES.items():
        (home / "config" / name).write_text(text)


def _fetch(pom: Path, home: Path, version: str) -> None:
    """Have Maven put jars under `home`. Raise `CannotFetch` if that fails, or if a checksum is wrong."""
    maven = _require(lambda: which("mvn"), "maven", "Maven (mvn) is missing")
    options = ["-q", "-B", "-C", f"-Dhome={home}", f"-Delasticsearch.version={version}"]
    _run(
        [str(maven), "-f", str(pom), *options, "validate"],
        f"Maven could not fetch Elasticsearch {version}: check the version and the network, then try again",
        CannotFetch,
    )


def _describe(home: Path, version: str, name: str, classname: str, extends: str) -> None:
    descriptor = DESCRIPTOR.format(
        name=name, classname=classname, extends=extends, version=version, java=_required_java(version)
    )
    (home / "modules" / name / "plugin-descriptor.properties").write_text(descriptor)


def _compile(home: Path, version: str, to: Path, *sources: Path) -> None:
    javac = require_java(version).with_name("javac")
    options = ["-proc:none", "--release", str(_required_java(version)), "-cp", f"{home / 'lib'}/*", "-d", str(to)]
    _run(
        [str(javac), *options, *map(str, sources)],
        f"the launcher does not compile against Elasticsearch {version}: use {DEFAULT_VERSION}, or adapt {SOURCES}",
    )


def _stamp(version: str, secured: bool) -> str:
    digest = hashlib.sha256((version + DESCRIPTOR + repr((NETTY, SECURITY, SECURITY_FILES))).encode())
    for source in (POM, *JAVA_SOURCES, *((SECURITY_POM, SECURITY_SOURCE) if secured else ())):
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
    """Return the real path of a `java` that has its `javac` beside it, and its release. Running it sees through wrapper
    scripts.
    """
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


def _run(command: Sequence[str], problem: str, error: type[NodeError] = NodeError) -> None:
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-15:])
        raise error(f"{problem}\n{Path(command[0]).name} said:\n{tail}")
