"""Writes a month's report and its invoices as files: HTML and PDF through `reports/`, XLSX, CSV, JSON and Parquet.

A verb: one file after the other is rendered and appears whole (temporary name, fsync, rename), readable by its owner
alone; the page that links to all of them comes last. Knows file names and formats; every figure is made in build.py
before, and file names are made from numbers and ids only.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from metering.core.errors import MeteringError, UsageError
from metering.core.files import sweep, sync_directory, write_whole
from metering.core.invoice import converted
from metering.core.period import parse_time
from metering.core.rows import Row
from metering.invoicing.printed.documents import invoice_pdf, page_writer
from metering.invoicing.printed.sheet_usage import Background
from metering.rendering import charts
from metering.rendering.tables import csv_text, parquet_bytes
from metering.rendering.templates import template
from metering.rendering.typeset import Typesetter
from metering.reporting import cells
from metering.reporting.columns import COLUMNS, on_print
from metering.reporting.invoiced import counts_as_revenue
from metering.reporting.paper import paper
from metering.reporting.paper_revenue import outlook_rows
from metering.reporting.tables import tables
from metering.reporting.workbook import workbook


class FinalReportError(MeteringError):
    """A draft would take the place of a final report."""


class OlderReportError(MeteringError):
    """A report would take the place of one that was made from more records."""


FORMATS = ("html", "pdf", "xlsx", "csv", "json", "parquet")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
ROWS_SHOWN = 50
"""Rows of a table in the HTML report; the files beside it hold all."""


def write(
    report: Row, invoices: Sequence[Row], background: Background, directory: Path, formats: Iterable[str]
) -> list[Path]:
    """Writes the formats asked for under the directory (made where missing) and returns the paths, sorted.

    `report` comes from `build.build`; `invoices` are the same invoice objects. Drafts of an earlier run that are
    no longer drafts are removed. Raises before anything is written: UsageError for a format that there is not,
    FinalReportError for a draft where the final report stands, OlderReportError where one of more records does.
    """
    asked = set(formats)
    _refuse_unknown(asked)
    _refuse_draft_over_final(report, directory)
    _refuse_older_over_newer(report, directory)
    directory.mkdir(parents=True, exist_ok=True)
    for place in (directory, directory / "invoices"):
        sweep(place)
    paths = []
    for name, content in _files(report, invoices, background, asked):
        paths.append(directory / name)
        paths[-1].parent.mkdir(exist_ok=True)
        write_whole(paths[-1], content)
    _remove_stale_drafts(directory / "invoices", set(paths), asked)
    for parent in sorted({path.parent for path in paths}):
        sync_directory(parent)
    return sorted(paths)


def _files(
    report: Row, invoices: Sequence[Row], background: Background, asked: set[str]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, made when it is asked for: ten thousand invoices need not fit into memory."""
    if "json" in asked:
        yield "report.json", _json_bytes(report)
    if asked & {"csv", "parquet"}:
        yield from _table_files(report, invoices, asked)
    if "xlsx" in asked:
        yield "report.xlsx", workbook(report, invoices)
    names = [f"invoices/{invoice_file(invoice)}" for invoice in invoices]
    assert len(set(names)) == len(names), "two invoices of a month have two names"
    if "pdf" in asked:
        typesetter = Typesetter(background.fonts)
        for name, invoice in zip(names, invoices, strict=True):
            yield f"{name}.pdf", invoice_pdf(converted(invoice), background, typesetter)
        yield "report.pdf", typesetter.pdf("report.typ", paper(report), parse_time(report["report"]["as_of"]))
    if "html" in asked:
        page = page_writer(background)
        for name, invoice in zip(names, invoices, strict=True):
            yield f"{name}.html", page(converted(invoice)).encode("utf-8")
        yield "report.html", _report_page(report, invoices, asked).encode("utf-8")


def _refuse_unknown(asked: set[str]) -> None:
    for name in sorted(asked - set(FORMATS)):
        raise UsageError(f"{name[:40]!r} is not a format of a report", hint=f"choose among {', '.join(FORMATS)}")


def _refuse_draft_over_final(report: Row, directory: Path) -> None:
    if report["report"]["is_draft"] and _head(directory / "report.json").get("is_draft") is False:
        month = report["report"]["month"]
        raise FinalReportError(
            f"{directory} holds the final report of {month}, and this one would be a draft",
            hint=f"metering close {month} first: it issues what is open and writes the report",
        )


def _refuse_older_over_newer(report: Row, directory: Path) -> None:
    there, own = int(_head(directory / "report.json").get("journal_seq", 0)), int(report["report"]["journal_seq"])
    if there > own:
        raise OlderReportError(
            f"{directory} holds a report of record {there}, and this one would be of record {own}",
            hint="another process is writing: run it again when that has ended",
        )


def _head(path: Path) -> Row:
    """What a report that stands there says of itself; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    head = found.get("report") if isinstance(found, dict) else None
    return head if isinstance(head, dict) else {}


def formats_in(directory: Path) -> set[str]:
    """The formats in which a report stands there already: the final one takes the place of each."""
    found = {path.suffix.removeprefix(".") for path in directory.glob("*") if path.is_file()}
    return found & set(FORMATS)


def file_stem(name: str) -> str:
    """A file name for an invoice number or customer id: itself where that is harmless, else ending in its hash."""
    if _SAFE_NAME.fullmatch(name):
        return name
    harmless = re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40].strip("-")
    return "-".join(filter(None, [harmless, hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]]))


def invoice_file(invoice: Row) -> str:
    """What an invoice's files are called: `INV-2026-000001`, or `draft-cust7` while it has no number."""
    number = invoice["number"]
    return file_stem(number) if number else f"draft-{file_stem(invoice['customer']['id'])}"


def _report_page(report: Row, invoices: Sequence[Row], asked: set[str]) -> str:
    page = template("report.html.j2")
    beside = {"links": _links(invoices), "tables": list(COLUMNS), "has_csv": "csv" in asked}
    expected = outlook_rows(report) if report["outlook"] else []
    return page.render(
        **report, **beside, charts=charts, cells=cells, on_print=on_print, outlook_rows=expected, rows_shown=ROWS_SHOWN
    )


def _links(invoices: Sequence[Row]) -> dict[str, str]:
    """Customer id -> the path of the invoice that counts."""
    return {
        invoice["customer"]["id"]: f"invoices/{invoice_file(invoice)}.html"
        for invoice in invoices
        if counts_as_revenue(invoice)
    }


def _json_bytes(report: Row) -> bytes:
    # A lone surrogate, which UTF-8 cannot hold, becomes \udXXX: that is how JSON writes it.
    return (json.dumps(report, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def _table_files(report: Row, invoices: Sequence[Row], asked: set[str]) -> Iterator[tuple[str, bytes]]:
    for name, rows in tables(report, invoices).items():
        if "csv" in asked:
            yield f"{name}.csv", csv_text(COLUMNS[name], rows).encode("utf-8")
        if "parquet" in asked:
            yield f"{name}.parquet", parquet_bytes(COLUMNS[name], rows)


def _remove_stale_drafts(directory: Path, written: set[Path], asked: set[str]) -> None:
    for path in sorted(directory.glob("draft-*")):
        if path not in written and path.suffix.removeprefix(".") in asked & {"html", "pdf"}:
            path.unlink()
