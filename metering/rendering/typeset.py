"""Sets documents as PDF with Typst: the only place that knows it.

A template of `reports/` and data as JSON in, the bytes of a PDF/A-3b out: the same template, data and moment give the
same bytes on any machine, since only the fonts that Typst ships, and those of a directory of the operator's, are used.
A character that no font has is printed as its code, `[U+5C71]`: a name may look odd, but never lacks a part.
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
"""What is no text, and sentences of ours, whose hashes should copy as they are."""
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
_PROBE = b'#set text(font: "Libertinus Serif")\n#for it in sys.inputs.data.codepoints() [#box(it) ]'
_ROUNDS = 20
"""How often characters may turn out to be lacking before it is our fault; the first probe finds nearly all."""


class Typesetter:
    """Typst with its fonts loaded once, for any number of documents. `fonts`: a directory with more of them."""

    def __init__(self, fonts: Path | None = None) -> None:
        if fonts is not None and not fonts.is_dir():
            raise MeteringError(f"there is no directory of fonts {fonts}", hint="see invoices.fonts")
        paths = [str(fonts)] if fonts is not None else []
        self._fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=paths)
        self._compilers: dict[str, typst.Compiler] = {}
        self._lacking: dict[int, str] = {}
        """Code point -> what is printed instead, as far as documents had them."""

    def pdf(self, template: str, data: Any, made_at: datetime) -> bytes:
        """The document of a template of `reports/`; data are plain JSON, `made_at` goes into the file.

        Typst takes whole seconds only, and stored documents may be dated more finely.
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
        """Which characters of the text no font has."""
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
    """The characters that Typst says it has no glyph for."""
    for found in _UNDISPLAYED.finditer(error.diagnostic):
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), found[1])
        yield from (character for character in text if not character.isascii())


def _settable(data: Any) -> Any:
    """The data with nothing invisible in its texts, and with places to break what has no blank for long."""
    if isinstance(data, str):
        return _LONG.sub("\\g<0>\N{ZERO WIDTH SPACE}", visible(data))
    if isinstance(data, dict):
        return {name: value if name in _WHOLE else _settable(value) for name, value in data.items()}
    return [_settable(value) for value in data] if isinstance(data, list | tuple) else data
