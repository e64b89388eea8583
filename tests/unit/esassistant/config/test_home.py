"""The home of an installation: which folder it is, what is written there first, and which files are believed."""

import grp
import os
import pwd
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from esassistant.config.home import NotBelieved, believed_text, home_of, write_first_env
from esassistant.config.reader import BadSettings, read


def distrust_of(path: Path) -> str | None:
    """Why a file is not believed; None: it is."""
    try:
        believed_text(path)
    except NotBelieved as distrust:
        return str(distrust)
    return None


def test_which_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is named; else that of manage.py in a checkout; else the current one."""
    monkeypatch.chdir(tmp_path)
    packages = tmp_path / "packages"
    packages.mkdir()
    assert home_of({}, packages) == tmp_path
    (packages / "manage.py").touch()
    assert home_of({}, packages) == packages
    assert home_of({"ESASSISTANT_HOME": "."}, packages) == tmp_path
    with pytest.raises(ImproperlyConfigured, match="absent is no folder"):
        home_of({"ESASSISTANT_HOME": "absent"}, packages)


def test_the_first_file_of_settings(tmp_path: Path) -> None:
    """In a folder without one it gets a key and a token of its own, that nobody else can read; with it the service
    starts.
    """
    path = write_first_env({}, tmp_path)
    assert path == tmp_path / ".env"
    assert path.stat().st_mode & 0o777 == 0o600
    config, settings = read({}, tmp_path, django=True)
    assert len(settings["SECRET_KEY"].value) >= 50
    assert settings["ALLOWED_HOSTS"].value == ("localhost", "127.0.0.1", "[::1]")
    assert len(config.api_tokens) == 1
    before = path.read_text()
    assert write_first_env({}, tmp_path) is None
    assert path.read_text() == before


@pytest.mark.parametrize("environment", [{"SECRET_KEY": "x"}, {"ESASSISTANT_ENV_FILE": "other.env"}])
def test_settings_from_elsewhere(tmp_path: Path, environment: dict[str, str]) -> None:
    """Whoever has a key in the environment, or names a file, gets none."""
    assert write_first_env(environment, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    """Where nothing can be written the settings say what is missing."""
    assert write_first_env({}, tmp_path / "absent") is None


@pytest.mark.parametrize(("mode", "said"), [(0o600, None), (0o644, None), (0o602, "everybody"), (0o666, "everybody")])
def test_who_may_write_it(tmp_path: Path, mode: int, said: str | None) -> None:
    """What everybody can write is not believed, whoever may read it, and the remedy is said."""
    path = tmp_path / ".env"
    path.touch()
    path.chmod(mode)
    found = distrust_of(path)
    assert found is None if said is None else found == f"can be written by {said}: chmod 600 {path}"


def test_a_group_that_may_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group with others in it is others; the user's own private one, as many systems have it, is not."""
    path = tmp_path / ".env"
    path.touch()
    path.chmod(0o660)
    name = pwd.getpwuid(os.geteuid()).pw_name
    for group, members, is_believed in (
        (name, [], True),
        (name, [name], True),
        (name, ["eve"], False),
        ("a", [], False),
    ):
        entry = SimpleNamespace(gr_name=group, gr_mem=members)
        monkeypatch.setattr(grp, "getgrgid", lambda _, entry=entry: entry)
        assert (distrust_of(path) is None) is is_believed

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert "its group" in (distrust_of(path) or "")


def test_whose_file_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's is not believed; root's is, and `/dev/null` is an empty file, whoever has it."""
    path = tmp_path / ".env"
    path.touch()
    path.chmod(0o600)
    os.chown(path, os.geteuid(), os.getegid())
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    found = distrust_of(path)
    assert found is None if owner == 0 else "belongs to another user: chown" in (found or "")
    assert believed_text(Path(os.devnull)) == ""


def test_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO, a folder and a device are refused at once, whoever has them and whether or not anybody writes: neither is
    the start held up, nor anything read.
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        assert distrust_of(path) == "is no regular file: write the settings into one, or name another"
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(path)
        assert "is no regular file" in (distrust_of(tmp_path / "link") or "")
    writer = os.open(fifo, os.O_RDWR)  # what another user has written waits in it
    os.write(writer, b"HEALTH_TIMEOUT=7\n")
    assert "is no regular file" in (distrust_of(fifo) or "")
    os.close(writer)
    with pytest.raises(BadSettings, match="fifo: is no regular file"):
        read({"ESASSISTANT_ENV_FILE": str(fifo)}, tmp_path)


def test_a_link(tmp_path: Path) -> None:
    """The file that it leads to is judged."""
    target, link = tmp_path / "target", tmp_path / ".env"
    target.write_text("HEALTH_TIMEOUT=7\n")
    target.chmod(0o600)
    link.symlink_to(target)
    assert believed_text(link) == "HEALTH_TIMEOUT=7\n"
    target.chmod(0o602)
    assert "can be written by everybody" in (distrust_of(link) or "")


def test_what_is_judged_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is given to another file right after the look gains nothing."""
    path, other = tmp_path / ".env", tmp_path / "other"
    path.write_text("HEALTH_TIMEOUT=7\n")
    path.chmod(0o600)
    other.write_text("HEALTH_TIMEOUT=8\n")
    look = os.fstat

    def swap(opened: int) -> os.stat_result:
        found = look(opened)
        if other.exists():
            other.rename(path)
        return found

    monkeypatch.setattr(os, "fstat", swap)
    assert believed_text(path) == "HEALTH_TIMEOUT=7\n"
    assert not other.exists()


@pytest.mark.parametrize("known", [True, False], ids=["with a name", "without one"])
def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """The remedy names the user that this process runs as, by its number where it has no name, as in containers."""
    path = tmp_path / ".env"
    path.touch()
    found = SimpleNamespace(st_mode=stat.S_IFREG | 0o600, st_uid=4_000_001, st_gid=4_000_001)

    def named(user: int) -> SimpleNamespace:
        if not known:
            raise KeyError(user)
        return SimpleNamespace(pw_name="service")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", lambda _: found)
        patched.setattr(os, "geteuid", lambda: 4_000_002)
        patched.setattr(pwd, "getpwuid", named)
        said = distrust_of(path)
    assert said == f"belongs to another user: chown {'service' if known else '4000002'} {path}"


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Nothing of it counts, a profile of one's own among them."""
    path = tmp_path / ".env"
    path.write_text("HEALTH_TIMEOUT=7\n")
    path.chmod(0o666)
    with pytest.raises(BadSettings, match=r"\.env: can be written by everybody: chmod 600"):
        read({}, tmp_path)
    path.unlink()
    (tmp_path / "profiles").mkdir()
    profile = tmp_path / "profiles" / "shop.env"
    profile.write_text("HEALTH_CACHE_TTL=70\n")
    profile.chmod(0o666)
    with pytest.raises(BadSettings, match=r"shop\.env: can be written by everybody"):
        read({"ESASSISTANT_PROFILE": "shop"}, tmp_path)


def test_profiles_of_ones_own(tmp_path: Path) -> None:
    """They stand in the folder `profiles` of the home, beside ours, whose names they can't have."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "shop.env").write_text("HEALTH_CACHE_TTL=70\n")
    config, settings = read({"ESASSISTANT_PROFILE": "shop"}, tmp_path)
    assert (config.health.ttl, settings["ESASSISTANT_PROFILE"].value) == (70.0, "shop")
    (tmp_path / "profiles" / "rollback.env").touch()
    with pytest.raises(BadSettings, match="has the name of a profile that comes with this service"):
        read({}, tmp_path)
