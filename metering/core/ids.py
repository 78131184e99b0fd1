"""Ids as they are compared: in Unicode's composed form (NFC), without blanks around them.

Two spellings of one name, as keyboards and file systems write them, are one id. Upper and lower case are two. Must not
know whose ids they are.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from metering.core.errors import Fault

_OUTER_BLANKS = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+$")
_ID_KEYS = frozenset({"id", "plan", "default_plan", "extends", "customer", "project_id", "meter", "metrics"})
"""Keys of config.toml and columns of CSV files whose values are ids or refer to them."""
_LIKENESS = 0.6
_MOST_COMPARED = 20_000
"""Known ids beyond which only the form is compared: letters are compared one by one."""


def canonical(text: str) -> str:
    """Returns the canonical form of an id."""
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


def respelled(data: Mapping[str, object], where: str = "", joint: str = ".") -> Iterator[Fault]:
    """Ids in raw data that are written in decomposed letters: not faulty, but reading changes how they are stored."""
    for key, value in data.items():
        place = f"{where}{joint}{key}" if where else key
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            below = f"{place}[{number}]" if isinstance(value, list) else place
            if isinstance(item, dict):
                yield from respelled(item, below, joint)
            elif key in _ID_KEYS and isinstance(item, str) and unicodedata.normalize("NFC", item) != item:
                what = f"{item!r} is written in decomposed letters"
                yield Fault(where=below, what=what, right=f"it is read as {canonical(item)!r}, the composed form")


class Neighbours:
    """Known ids, to be searched for the one that a mistyped id most likely means."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known: dict[str, list[str]] = {}
        for name in sorted(set(known)):
            self._known.setdefault(_folded(name), []).append(name)

    def by_form(self, name: str) -> str | None:
        """The known id that differs only in case, width, accents, blanks, dashes and the like."""
        return next((one for one in self._known.get(_folded(name), ()) if one != name), None)

    def nearest(self, name: str) -> str | None:
        """The known id that differs by form alone, else the one of the most like letters, if any is like it."""
        if found := self.by_form(name):
            return found
        if len(self._known) > _MOST_COMPARED:
            return None
        near = difflib.get_close_matches(_folded(name), set(self._known) - {_folded(name)}, n=1, cutoff=_LIKENESS)
        return self._known[near[0]][0] if near else None


def _folded(name: str) -> str:
    """A name without what people mistype: case, width, accents, blanks and punctuation."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = "".join(character for character in plain if character.isalnum())
    return kept or plain
