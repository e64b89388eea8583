"""Estimate tokens without a tokenizer. The estimate is on the safe side: no common tokenizer makes more tokens of a
description.

It is the larger of two numbers. One is the bytes of the text divided by `BYTES_PER_TOKEN`, which is less than names in
Elasticsearch usually have. The other is the sum of the costs of its runs of letters, digits, signs and other
characters, because short names, hashes, capitals and scripts other than Latin have more tokens than their bytes
suggest.
"""

import math
import re
from functools import lru_cache

BYTES_PER_TOKEN = 3.7
MAX_KEPT_CHARACTERS = 64
"""The costs of longer runs aren't kept: names have none, and documents may have some of many kilobytes."""

_RUN = re.compile(
    r"[\t !-/:-@\[-`{-~]?(?:[A-Z]+(?![a-z])|[A-Z]?[a-z]+)|[\t !-/:-@\[-`{-~]?[0-9]+"
    r"| ?[\x00-\x08\x0e-\x1f!-/:-@\[-`{-\x7f]+|\s+|[^\x00-\x7f]+"
)
"""The runs into which tokenizers split a text first: letters with the sign before them, digits, signs, blanks."""

_FOLLOWERS = {
    "a": "abcdfgiklmnprstuvwxy",
    "b": "abceijlorsuy",
    "c": "acdefhiklmorstu",
    "d": "abcdefilnorstu",
    "e": "abcdefghiklmnopqrstuvwxy",
    "f": "adefilorstu",
    "g": "aeghilnorstu",
    "h": "aeilortu",
    "i": "abcdefglmnoprstvxz",
    "k": "aeils",
    "l": "acdefilnopstuy",
    "m": "abdeilmopsu",
    "n": "acdefgiklnopstuv",
    "o": "abcdfgiklmnoprstuvwx",
    "p": "acdehiloprstuy",
    "q": "u",
    "r": "abcdefgiklmnoprstuvy",
    "s": "acdefghiklmnopqrstuy",
    "t": "abcdefhilmnoprstuwy",
    "u": "abcdefgilmnoprst",
    "v": "aeio",
    "w": "aehinors",
    "x": "ceipt",
    "y": "elmnpst",
    "z": "ei",
}
_FAMILIAR = frozenset(a + b for a, followers in _FOLLOWERS.items() for b in followers)
"""Pairs of letters that are common in words. Where other letters follow each other, tokenizers have no long tokens."""

ONE_TOKEN = frozenset(
    """
    name id type status code host user time date path data value values key keyword text long float boolean integer
    double object alias address port domain bytes client server source service network event message error
    request response method url query version level size count total process file group message number index
    country city region state start end created action title description content price order product category
    image label tags field fields text string list table account email location parent
    """.split()
)
"""Words that are one token, together with a sign before them."""


def count_tokens(text: str) -> int:
    """Return how many tokens `text` has at most."""
    return math.ceil(max(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN, cost(text)))


def cost(text: str) -> float:
    """Return the cost of the runs of `text` in tokens. Two texts joined never cost more than the sum of their costs."""
    runs = _RUN.findall(text)
    if max(map(len, runs), default=0) <= MAX_KEPT_CHARACTERS:
        return sum(map(_kept_run_cost, runs))
    return sum((_kept_run_cost if len(run) <= MAX_KEPT_CHARACTERS else _run_cost)(run) for run in runs)


@lru_cache(maxsize=50_000)
def _kept_run_cost(run: str) -> float:
    return _run_cost(run)


def _run_cost(run: str) -> float:
    first, last = run[0], run[-1]
    if not last.isascii():
        return sum(map(_character_cost, run))
    if last.isalpha():
        word = run if first.isalpha() else run[1:]
        return 1.0 if word in ONE_TOKEN else _letters_cost(word)
    if last.isdigit():
        # A token has three digits at most, and no sign before them.
        return float((len(run) + 2) // 3 if first.isdigit() else 1 + (len(run) + 1) // 3)
    if last.isspace():
        return 1.0 if len(run) == 1 else len(run) / 2
    return float(len(run.lstrip(" ")))


def _letters_cost(run: str) -> float:
    lowered = run.lower()
    strange = sum(lowered[place : place + 2] not in _FAMILIAR for place in range(len(run) - 1))
    if len(run) > 1 and run.isupper():
        return 1.3 + len(run) / 6 + 0.85 * strange
    return 1.0 if len(run) == 1 else 1.05 + len(run) / 8 + 0.75 * strange


def _character_cost(character: str) -> float:
    """Return the cost of one character beyond ASCII: of letters with accents, Greek, Cyrillic and dashes; of Chinese,
    Japanese and Korean; or of others.
    """
    point = ord(character)
    if 0xC0 <= point < 0x100 or 0x391 <= point < 0x3C9 or 0x410 <= point < 0x450 or 0x2013 <= point <= 0x2026:
        return 1.5
    if 0x3000 <= point < 0xA000 or 0xAC00 <= point < 0xD7B0:
        return 2.4
    return float(len(character.encode("utf-8", "surrogatepass")))
