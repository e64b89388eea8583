"""Split names and questions into words that can be compared: by their notation (camel case, underscores), without
accents, capitals and endings.
"""

import re
from functools import lru_cache

from cacheapp.mapping.accents import without_accents

_TOKEN = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")
_PIECE = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+|[^\W_a-zA-Z0-9]+")
_ENDINGS = (
    *("ations", "ation", "ically", "ments", "ment", "ingly", "ings", "ing", "ities", "ity", "ness"),
    *(
        "ures",
        "ure",
        "ies",
        "ied",
        "ers",
        "ors",
        "er",
        "or",
        "est",
        "eds",
        "ed",
        "ely",
        "ly",
        "es",
        "en",
        "em",
        "s",
        "e",
        "n",
        "y",
    ),
)
MIN_STEM = 3
MAX_WORD_CHARACTERS = 64
"""A longer piece of a name is a hash or a text, which nobody asks for."""

STOP_WORDS = frozenset(
    """
    a an and are as at be been but by can did do does during each every everybody for from get gets give given had has
    have how i if in into is it its just let many me more most much my not of on only or our out over per right
    same several share should show so than that the their them then there these they this those through to up us was
    we were what when where which while who whose why will with would you your any all about
    aber alle als am an auf aus bei bis das dass dem den der des die dies diese diesem dieser ein eine einem einen
    einer es fur gab gibt habe haben hat hatte hatten ich ihr im ist jede jeden jeder kamen mein meisten mit nach
    nicht noch nur oder ob pro sich sie sind uber um und uns unsere unser unter vom von vor wann war waren warum was
    welche welchem welchen welcher welches wenn wer werden wie wird wo wurde wurden zu zum zur
    au aux avec ce ces cette combien comment dans de des du elle en entre est et eu ils la le les leur leurs mes mon
    nos notre nous ont ou par pas plus pour pourquoi quand que quel quelle quelles quels qui sa ses son sont sur
    tous tout toutes un une vos votre y d l s qu c n j
    """.split()
)
"""Words in English, German and French that hold a question together, and say nothing of a field."""


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return a folded word without its ending, in the same way for questions and names; at least three letters stay."""
    if not word.isalpha() or len(word) <= MIN_STEM:
        return word
    for ending in _ENDINGS:
        if ending == "s" and word[-2] in "su":
            continue  # "address" and "status" are no plurals
        if word.endswith(ending) and len(word) - len(ending) >= MIN_STEM:
            stemmed = word[: -len(ending)]
            if len(stemmed) > MIN_STEM and stemmed[-1] == stemmed[-2] and stemmed[-1] not in "aeiousl":
                stemmed = stemmed[:-1]  # "dropped" is "drop"
            return stemmed
    return word


def fold(text: str) -> str:
    """Return `text` without accents. Capitals stay, because they show where words begin."""
    if text.isascii():
        return text
    return without_accents(text.replace("ß", "ss"))


def tokens(text: str) -> list[str]:
    """Return the tokens of a text: its runs of letters, digits and underscores."""
    return _TOKEN.findall(fold(text))


def pieces(token: str) -> list[str]:
    """Split a token by its notation: `TargetUserName`, `target_user_name` and `s3access` have several pieces."""
    return [piece.lower() for piece in _PIECE.findall(token)]


def joined(token: str) -> str:
    """Return a token as one word, whatever its notation."""
    return token.replace("_", "").lower()
