"""Processes that answer, with real small ones: waited for, seen to fail, suspended, and ended whatever they do."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from dev.servers.process import Process, ProcessError, Program, wait_until

SERVES = """
import http.server, os, signal, sys
{before}
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"Serving on http://127.0.0.1:{{server.server_port}} with pid {{os.getpid()}}", flush=True)
server.serve_forever()
"""
IGNORES_SIGTERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def program(before: str = "", code: str = SERVES) -> Program:
    """One that serves its working directory after `before`, or does what `code` says."""
    made = Program("small", [sys.executable, "-c", code.format(before=before)])
    made.start_seconds = 10
    made.stop_seconds = 0.3
    return made


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_suspended(pid: int) -> bool:
    return " T " in Path(f"/proc/{pid}/stat").read_text()


def test_it_answers_for_the_length_of_the_block() -> None:
    """It is ended with the block, and what it printed is known even then."""
    with program() as running:
        assert httpx.get(running.url).status_code == 200
        pid = running.pid
        assert not running.has_ended
    assert not is_alive(pid)
    assert running.output().splitlines()[0] == f"Serving on {running.url} with pid {pid}"


def test_it_is_ended_when_the_block_fails() -> None:
    pids = []

    def fail_while_it_runs() -> None:
        with program() as running:
            pids.append(running.pid)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_it_runs()
    assert [is_alive(pid) for pid in pids] == [False]


def test_a_process_that_ends_before_it_answers() -> None:
    """The error has its exit code and the end of its log; nothing is left of it."""
    failing = program("print('no such device', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ProcessError, match=r"(?s)small ended before it answered \(exit code 3\).*no such device"):
        failing.start()
    with pytest.raises(ProcessError, match="not running"):
        _ = failing.pid


def test_a_process_that_never_answers() -> None:
    """It is given up at the deadline and ended; the error has the end of its log."""
    silent = program(code="import time{before}; print('I am slow', flush=True); time.sleep(60)")
    with pytest.raises(ProcessError, match=r"(?s)did not answer within 2 s.*I am slow"):
        silent.start(2.0)
    assert silent.stop() is None


def test_a_program_that_is_missing() -> None:
    with pytest.raises(FileNotFoundError), Program("missing", ["/no/such/program"]):
        pass


def test_stop_ends_in_order() -> None:
    """By SIGTERM, and says the exit code."""
    running = program("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))")
    running.start()
    assert running.stop() == 7
    assert running.stop() is None


def test_stop_kills_what_goes_on() -> None:
    """What doesn't end on SIGTERM is killed after `stop_seconds`."""
    running = program(IGNORES_SIGTERM)
    running.start()
    started_at = time.monotonic()
    assert running.stop() == -signal.SIGKILL
    assert running.stop_seconds <= time.monotonic() - started_at < 5


def test_kill_ends_at_once() -> None:
    running = program(IGNORES_SIGTERM)
    running.start()
    pid = running.pid
    running.kill()
    assert not is_alive(pid)
    running.kill()


def test_suspended_and_resumed() -> None:
    """While suspended it accepts connections and answers nothing; afterwards it does."""
    with program() as running:
        running.suspend()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(running.url, timeout=0.2)
        assert is_suspended(running.pid)
        running.resume()
        assert httpx.get(running.url).status_code == 200


def test_a_suspended_process_ends_in_order() -> None:
    """SIGTERM reaches it, because `stop` wakes it."""
    running = program("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))")
    running.stop_seconds = 10
    running.start()
    running.suspend()
    wait_until(lambda: is_suspended(running.pid), 5)
    assert running.stop() == 0


def test_it_starts_again() -> None:
    """After `stop` and `kill`; the output is that of the latest start, the log that of all."""
    with closing(program()) as running:
        urls = []
        for end in (running.stop, running.kill, running.stop):
            running.start()
            urls.append(running.url)
            assert httpx.get(running.url).status_code == 200
            end()
        assert running.output().count("Serving") == 1
        assert f"Serving on {urls[-1]}" in running.output()
        assert running.log_tail(1) == running.output().splitlines()[-1]
        assert running.log.read_text().count("Serving") == 3


def test_it_runs_once_at_a_time() -> None:
    """Starting it twice is refused, and leaves the first running."""
    with program() as running:
        with pytest.raises(ProcessError, match="running already"):
            running.spawn()
        assert httpx.get(running.url).status_code == 200


def test_an_end_of_its_own_is_seen() -> None:
    with program() as running:
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: running.has_ended, 5)
    assert not running.has_ended


def test_what_it_holds_is_closed_before_it_ends() -> None:
    """So that a server need not wait for connections of ours."""
    alive = []
    with program() as running:
        running.held.callback(lambda: alive.append(is_alive(running.pid)))
    assert alive == [True]


def test_a_log_of_ones_own_is_appended_to(tmp_path: Path) -> None:
    """Its folder is made; the log stays."""

    class Own(Process):
        def command_line(self) -> list[str]:
            return ["/bin/sh", "-c", "echo again; read end"]

        def answers(self) -> bool:
            return "again" in self.output()

    log = tmp_path / "new" / "log"
    for _ in range(2):
        with Own("own", log=log) as running:
            assert running.output() == "again\n"
    assert log.read_text() == "again\nagain\n"


def test_its_input_ends_with_its_starter(tmp_path: Path) -> None:
    """A program that reads its standard input ends when the process that started it is killed."""
    code = (
        "import os\n"
        "from dev.servers.process import Program\n"
        "running = Program('small', ['/bin/sh', '-c', 'echo http://127.0.0.1:1; read end'])\n"
        "running.start()\n"
        "print(running.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    # What is killed leaves its folders behind.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command_line = [sys.executable, "-c", code]
    ended = subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=30, check=False)
    wait_until(lambda: not is_alive(int(ended.stdout)), 5)


def test_waiting_for_what_never_is() -> None:
    """What becomes so is waited for, and how long that took is said; what never is, is an AssertionError."""
    answers = iter([False, False, True])
    assert 0.02 <= wait_until(lambda: next(answers), 5, every=0.01) < 5
    with pytest.raises(AssertionError, match=r"not so within 0\.02 s"):
        wait_until(lambda: False, 0.02, every=0.01)
