"""Find the fields that the text of a `query_string` query names, as far as Lucene's grammar is clear."""

import re

import msgspec

from cacheapp.queries.findings import shortened

MAX_PARTS = 1_000
_SPECIAL = set(' \t\n\r\u3000()":[]{}^~/\\')
_COMPARISON = re.compile(r">=|<=|>|<")
_AFTER = re.compile(r"(~[\d.]*|\^[\d.]+)*")
_RANGE = re.compile(r"\s*(?P<low>\"(?:[^\"\\]|\\.)*\"|[^\s\]}]+)\s+TO\s+(?P<high>\"(?:[^\"\\]|\\.)*\"|[^\s\]}]+)\s*")


class Named(msgspec.Struct, frozen=True):
    """One field that the text names.

    Args:
        field: Its name.
        values: The plain terms that it has to equal, or is compared with.
        bounds: Whether the values are the bounds of a range.
        has_pattern: Whether a term with `*` or `?` stands there too.
    """

    field: str
    values: tuple[str, ...] = ()
    bounds: bool = False
    has_pattern: bool = False


class Parsed(msgspec.Struct, frozen=True):
    """The fields that a query string names. `mistake`: why it can't be parsed."""

    named: tuple[Named, ...] = ()
    mistake: str | None = None


def parse(text: str) -> Parsed:
    """Parse a query string. Return nothing where it isn't clear what is meant."""
    try:
        return Parsed(tuple(_Reader(text).read()))
    except _MistakeError as error:
        return Parsed((), str(error))
    except _UnsureError:
        return Parsed()


class _MistakeError(Exception):
    pass


class _UnsureError(Exception):
    pass


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._fields: list[str | None] = [None]
        self._named: list[Named] = []

    def read(self) -> list[Named]:
        text = self._text
        for _ in range(MAX_PARTS):
            self._skip_blanks()
            if self._place >= len(text):
                if len(self._fields) > 1:
                    raise _MistakeError("A parenthesis isn't closed.")
                return self._named
            self._clause(self._fields[-1])
        raise _UnsureError

    def _skip_blanks(self) -> None:
        while self._place < len(self._text) and self._text[self._place] in " \t\n\r\u3000+-!&|":
            self._place += 1

    def _clause(self, field: str | None, *, must: bool = False) -> None:
        """Read one clause. `must`: something has to stand here, because a colon stands before it. Raise `_MistakeError`
        if the text can't be parsed.
        """
        while must and self._text[self._place : self._place + 1] in tuple(" \t\n\r\u3000"):
            self._place += 1
        sign = self._text[self._place : self._place + 1]
        if not sign or (must and sign == ")"):
            raise _MistakeError(f"Behind {shortened(field)}: there is nothing to search for.")
        if sign == "(":
            self._place += 1
            self._fields.append(field)
        elif sign == ")":
            if len(self._fields) == 1:
                raise _MistakeError("A parenthesis is closed that wasn't opened.")
            self._place += 1
            self._fields.pop()
            self._after()
        elif sign == '"':
            self._quoted('"', "A quotation mark isn't closed.")
            self._name(field)
        elif sign == "/":
            self._quoted("/", "A regular expression isn't closed: escape a slash as \\/.")
            self._name(field)
        elif sign in "[{":
            self._range(field)
        else:
            self._term(field, must=must)

    def _after(self) -> None:
        found = _AFTER.match(self._text, self._place)
        if found is not None:
            self._place = found.end()

    def _quoted(self, mark: str, mistake: str) -> None:
        place = self._place + 1
        while place < len(self._text) and self._text[place] != mark:
            place += 2 if self._text[place] == "\\" else 1
        if place >= len(self._text):
            raise _MistakeError(mistake)
        self._place = place + 1
        self._after()

    def _range(self, field: str | None) -> None:
        found = _RANGE.match(self._text, self._place + 1)
        if found is None or self._text[found.end() : found.end() + 1] not in ("]", "}"):
            raise _MistakeError("A range is written [low TO high].")
        self._place = found.end() + 1
        self._after()
        self._name(field, (found["low"].strip('"'), found["high"].strip('"')), bounds=True)

    def _term(self, field: str | None, *, must: bool) -> None:
        comparison = _COMPARISON.match(self._text, self._place)
        if comparison is not None:
            self._place = comparison.end()
            if self._text[self._place : self._place + 1] == '"':
                self._quoted('"', "A quotation mark isn't closed.")
                self._name(field)
                return
        word, is_escaped = self._word()
        if not word:
            raise _UnsureError
        if comparison is None and self._text[self._place : self._place + 1] == ":":
            if must:
                raise _MistakeError(f"Behind {shortened(word)} there is a second colon: escape it as \\:.")
            self._place += 1
            self._field(word, is_escaped=is_escaped)
            return
        self._after()
        if word in ("AND", "OR", "NOT") and comparison is None:
            return
        has_pattern = not is_escaped and ("*" in word or "?" in word)
        self._name(field, () if has_pattern else (word,), bounds=comparison is not None, has_pattern=has_pattern)

    def _field(self, word: str, *, is_escaped: bool) -> None:
        if "*" in word and not is_escaped and word != "*":
            raise _UnsureError
        if word == "_exists_":
            self._skip_blanks()
            name, _ = self._word()
            self._after()
            self._name(name)
            return
        before = len(self._named)
        depth = len(self._fields)
        self._clause(word, must=True)
        if len(self._fields) > depth or len(self._named) == before:
            self._name(word)

    def _word(self) -> tuple[str, bool]:
        """Return the characters up to the next one with a special meaning, unescaped, and whether a `*` or `?` was
        escaped.
        """
        parts, is_escaped, text = [], False, self._text
        while self._place < len(text):
            sign = text[self._place]
            if sign == "\\" and self._place + 1 < len(text):
                sign = text[self._place + 1]
                is_escaped = is_escaped or sign in "*?"
                self._place += 2
            elif sign in _SPECIAL:
                break
            else:
                self._place += 1
            parts.append(sign)
        return "".join(parts), is_escaped

    def _name(
        self, field: str | None, values: tuple[str, ...] = (), *, bounds: bool = False, has_pattern: bool = False
    ) -> None:
        if field is not None and field != "*":
            self._named.append(Named(field, values, bounds, has_pattern))
