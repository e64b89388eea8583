"""Answers of this project's server, kept in a folder for the servers that it is compared with."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

ANSWERS = "answers.json"
OF_THE_SERVER = ("date", "connection", "transfer-encoding")
HEALTH = "/api/health"


class Answer(msgspec.Struct):
    """A whole answer, without the headers that the HTTP server itself adds."""

    body: bytes
    headers: list[tuple[str, str]]


def save_answer(folder: Path, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Save an answer, so that the servers that are started with `folder` give it for `path`."""
    known = read_answers(folder)
    known[path] = Answer(body, [(name, value) for name, value in headers.items() if name not in OF_THE_SERVER])
    (folder / ANSWERS).write_bytes(msgspec.json.encode(known))


def read_answers(folder: Path) -> dict[str, Answer]:
    """Return all saved answers by path."""
    file = folder / ANSWERS
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Answer]) if file.exists() else {}
