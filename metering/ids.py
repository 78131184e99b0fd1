"""Ids as they are compared: in Unicode's composed form (NFC), without blanks around them.

Two spellings of one name, as keyboards and file systems write them, are one id. Upper and lower case are two. Must not
know whose ids they are.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping

_OUTER_BLANKS = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+$")
_ID_KEYS = frozenset({"id", "plan", "default_plan", "extends", "customer", "meter", "metrics"})
"""Keys of config.toml whose values are ids or refer to them."""


def canonical(text: str) -> str:
    """The id that a text means."""
    return _OUTER_BLANKS.sub("", unicodedata.normalize("NFC", text))


def with_canonical_ids(data: Mapping[str, object]) -> dict[str, object]:
    """Raw data of TOML with every id in it canonical; everything else stays as it is written."""
    return {name: _with_canonical_ids(value, name) for name, value in data.items()}


def _with_canonical_ids(raw: object, key: str) -> object:
    if isinstance(raw, dict):
        return with_canonical_ids(raw)
    if isinstance(raw, list):
        return [_with_canonical_ids(value, key) for value in raw]
    return canonical(raw) if isinstance(raw, str) and key in _ID_KEYS else raw


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Of the known ids the one that a mistyped one most likely means: by case and form first, then by letters."""
    names = sorted(known)
    folded = _folded(name)
    for one in names:
        if one != name and _folded(one) == folded:
            return one
    by_fold = {_folded(one): one for one in names if one != name}
    near = difflib.get_close_matches(folded, by_fold, n=1, cutoff=0.7)
    return by_fold[near[0]] if near else None


def is_same_but_for_form(one: str, other: str) -> bool:
    """Whether two ids differ in case, compatibility form, accents, blanks, dashes and the like alone."""
    return one != other and _folded(one) == _folded(other)


def _folded(name: str) -> str:
    """A name without what people mistype: case, width, accents, blanks and punctuation."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = "".join(character for character in plain if character.isalnum())
    return kept or plain
