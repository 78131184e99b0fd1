"""Other people's text, fit for a line that we write: a message, a terminal, an alert."""


def legible(text: str, *, also: str = "") -> str:
    """The text with every character that ends a line, hides or turns what follows shown as the replacement sign.

    Of these, the characters in `also` stay.
    """
    return "".join(c if c.isprintable() or c in also else "\N{REPLACEMENT CHARACTER}" for c in text)
