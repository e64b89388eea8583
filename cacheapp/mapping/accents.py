"""Removes accents from names of fields, so that they can be compared. Pure."""

import unicodedata


def without_accents(text: str) -> str:
    """Return `text` without accents, and without other differences that the form NFKD levels.

    Accents that stand alone are removed first: putting many of them in order takes quadratic time, and whoever makes an
    index chooses the names of its fields.
    """
    return _without_marks(unicodedata.normalize("NFKD", _without_marks(text)))


def _without_marks(text: str) -> str:
    return "".join(character for character in text if not unicodedata.combining(character))
