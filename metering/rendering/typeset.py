"""Typesets documents as PDF with Typst; the only module that knows Typst.

Takes a template of `reports/` and JSON data, returns a PDF/A-3b. Equal template, data and moment give equal bytes on
any machine, because only Typst's own fonts and those of the operator's directory are used. A character without a glyph
is printed as its code, `[U+5C71]`, so that no name loses a part.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import typst

from metering.core.errors import MeteringError
from metering.core.files import data_directory
from metering.core.period import whole_second
from metering.core.text import visible

STANDARD: Literal["a-3b"] = "a-3b"
_UNDISPLAYED = re.compile(r'the text `"(.+?)"` could not be displayed')
_LONG = re.compile(r"\S{24}(?=\S)")
_WHOLE = {"svg", "notes"}
"""Keys whose values are not prepared for line breaks: numbers, and our sentences with hashes to copy."""
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
_PROBE = b'#set text(font: "Libertinus Serif")\n#for it in sys.inputs.data.codepoints() [#box(it) ]'
_ROUNDS = 20
"""The most attempts to find characters without a glyph; the first one finds nearly all."""


class Typesetter:
    """Typst with its fonts, loaded once for any number of documents. `fonts`: a directory with additional fonts."""

    def __init__(self, fonts: Path | None = None) -> None:
        if fonts is not None and not fonts.is_dir():
            raise MeteringError(f"there is no directory of fonts {fonts}", hint="see invoices.fonts")
        paths = [str(fonts)] if fonts is not None else []
        self._fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=paths)
        self._compilers: dict[str, typst.Compiler] = {}
        self._lacking: dict[int, str] = {}
        """Code point -> what is printed instead, as far as documents had them."""

    def pdf(self, template: str, data: Any, made_at: datetime) -> bytes:
        """The PDF of a template of `reports/` with plain JSON data; `made_at` is its timestamp.

        Fractions of a second are dropped, because Typst accepts only whole seconds.
        """
        text = json.dumps(_settable(data), ensure_ascii=False)
        for _ in range(_ROUNDS):
            try:
                return self._compiled(template, text.translate(self._lacking), whole_second(made_at))
            except typst.TypstError as error:
                lacking = set(_undisplayed(error))
                if not lacking:
                    raise
                self._learn(lacking | set(self._probed(text)))
        raise AssertionError("Typst lacks characters without end")

    def _compiled(self, template: str, text: str, made_at: datetime) -> bytes:
        if template not in self._compilers:
            directory = data_directory("reports")
            self._compilers[template] = typst.Compiler(
                str(directory / template), root=str(directory), font_paths=self._fonts
            )
        made = self._compilers[template].compile(
            format="pdf", pdf_standards=STANDARD, sys_inputs={"data": text}, timestamp=made_at
        )
        assert isinstance(made, bytes)
        return made

    def _probed(self, text: str) -> Iterable[str]:
        """The characters of the text that no font has."""
        characters = "".join(sorted(character for character in set(text) if not character.isascii()))
        try:
            typst.compile(
                _PROBE, font_paths=self._fonts, format="pdf", pdf_standards=STANDARD, sys_inputs={"data": characters}
            )
        except typst.TypstError as error:
            return _undisplayed(error)
        return ()

    def _learn(self, lacking: Iterable[str]) -> None:
        self._lacking.update({ord(character): f"[U+{ord(character):04X}]" for character in lacking})


def _undisplayed(error: typst.TypstError) -> Iterable[str]:
    """The characters without a glyph, from Typst's warnings."""
    for found in _UNDISPLAYED.finditer(error.diagnostic):
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), found[1])
        yield from (character for character in text if not character.isascii())


def _settable(data: Any) -> Any:
    """The data without invisible characters, and with break opportunities in long texts without blanks."""
    if isinstance(data, str):
        return _LONG.sub("\\g<0>\N{ZERO WIDTH SPACE}", visible(data))
    if isinstance(data, dict):
        return {name: value if name in _WHOLE else _settable(value) for name, value in data.items()}
    return [_settable(value) for value in data] if isinstance(data, list | tuple) else data
