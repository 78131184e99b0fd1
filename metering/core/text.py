"""Other people's text, fit for a line that we write: a message, a terminal, an alert."""

import re

# Control characters, line separators, lone surrogates, and marks that turn the direction of all that follows.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def legible(text: str, *, also: str = "") -> str:
    """The text with every character that ends a line, hides or turns what follows shown as the replacement sign.

    Characters in `also` are kept as they are.
    """
    return "".join(c if c.isprintable() or c in also else "\N{REPLACEMENT CHARACTER}" for c in text)


def visible(text: str) -> str:
    """The text with every character that hides, breaks or turns its surroundings shown as the replacement sign."""
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text)


def words(identifier: str) -> str:
    """`public_transfer` as `Public transfer`."""
    spaced = identifier.replace("_", " ")
    return spaced[:1].upper() + spaced[1:]
