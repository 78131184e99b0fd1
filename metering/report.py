"""Writes a month's report and its invoices as files: HTML through `reports/`, CSV, JSON and Parquet.

A verb: one file after the other is rendered and appears whole (temporary name, fsync, rename), readable by its owner
alone; the page that links to all of them comes last. Knows file names and formats; every figure was made in report_data
before, and what a file is called never follows a name that a customer chose.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metering import charts, figures
from metering.errors import UsageError
from metering.files import data_directory
from metering.invoice_sheet import sheet
from metering.money import minor_units
from metering.report_facts import Row, counts_as_revenue, grouped
from metering.report_tables import COLUMNS, csv_text, parquet_bytes, tables

FORMATS = ("html", "csv", "json", "parquet")
_LATER_FORMATS = ("pdf", "xlsx")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
ROWS_SHOWN = 50
"""Rows of a table in the HTML report; the files beside it hold all."""


def write(report: Row, invoices: Sequence[Row], directory: Path, formats: Iterable[str]) -> list[Path]:
    """Writes the formats asked for under the directory (made where missing) and returns the paths, sorted.

    `report` comes from `report_data.build`; `invoices` are the same invoice objects. Drafts of an earlier run that are
    no longer drafts are removed. UsageError for a format that there is not, before anything is written.
    """
    asked = set(formats)
    _refuse_unknown(asked)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in _files(report, invoices, asked):
        paths.append(directory / name)
        _replace(paths[-1], content)
    if "html" in asked:
        _remove_stale_drafts(directory / "invoices", set(paths))
    for parent in sorted({path.parent for path in paths}):
        _sync_directory(parent)
    return sorted(paths)


def _files(report: Row, invoices: Sequence[Row], asked: set[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, made when it is asked for: ten thousand invoices need not fit into memory."""
    if "json" in asked:
        yield "report.json", _json_bytes(report)
    if asked & {"csv", "parquet"}:
        yield from _table_files(report, invoices, asked)
    if "html" in asked:
        names = [f"invoices/{invoice_file(invoice)}" for invoice in invoices]
        assert len(set(names)) == len(names), "two invoices of a month have two names"
        for name, text in zip(names, invoice_pages(report, invoices), strict=True):
            yield name, text.encode("utf-8")
        yield "report.html", _report_page(report, invoices, has_csv="csv" in asked).encode("utf-8")


def _refuse_unknown(asked: set[str]) -> None:
    for name in sorted(asked - set(FORMATS)):
        known = f"choose among {', '.join(FORMATS)}"
        if name in _LATER_FORMATS:
            raise UsageError(f"the format {name} is not available yet", hint=known)
        raise UsageError(f"{name[:40]!r} is not a format of a report", hint=known)


def file_stem(name: str) -> str:
    """A file name for an invoice number or customer id: itself where that is harmless, else ending in its hash."""
    if _SAFE_NAME.fullmatch(name):
        return name
    harmless = re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40].strip("-")
    return "-".join(filter(None, [harmless, hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]]))


def invoice_file(invoice: Row) -> str:
    """`INV-2026-000001.html`, or `draft-cust7.html` while it has no number."""
    number = invoice["number"]
    return f"{file_stem(number)}.html" if number else f"draft-{file_stem(invoice['customer']['id'])}.html"


def _report_page(report: Row, invoices: Sequence[Row], *, has_csv: bool) -> str:
    template = environment().get_template("report.html.j2")
    beside = {"links": _links(invoices), "tables": list(COLUMNS), "has_csv": has_csv}
    return template.render(**report, **beside, charts=charts, rows_shown=ROWS_SHOWN)


def invoice_pages(report: Row, invoices: Sequence[Row]) -> Iterator[str]:
    """Each invoice as a self-contained page; `invoices` are all of the report's month, since projects move."""
    template = environment().get_template("invoice.html.j2")
    names = {row["project_id"]: row["project_name"] for row in report["usage"]}
    payers = grouped(
        (
            {"project": line["project_id"], "customer": invoice["customer"]["id"]}
            for invoice in invoices
            for line in invoice["lines"]
        ),
        lambda row: row["project"],
    )
    # A project that moved to another customer inside the month: its usage cannot be shown to one of them as theirs.
    moved = {project for project, rows in payers.items() if len({row["customer"] for row in rows}) > 1}
    usage = grouped((row for row in report["usage"] if row["project_id"] not in moved), lambda row: row["customer"])
    for invoice in invoices:
        used = [dict(row) for row in usage.get(invoice["customer"]["id"], [])]
        yield template.render(**sheet(invoice, used, names), seller=report["seller"], report=report["report"])


def _links(invoices: Sequence[Row]) -> dict[str, str]:
    """Customer id -> the path of the invoice that counts."""
    return {
        invoice["customer"]["id"]: f"invoices/{invoice_file(invoice)}"
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


def environment() -> Environment:
    """The templates under `reports/`, with the ways in which figures are printed everywhere: files and dashboard."""
    found = Environment(
        loader=FileSystemLoader(data_directory("reports")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(
        amount=_amount,
        amount_change=lambda text, currency: figures.printed_change(text, minor_units(currency)),
        number=figures.printed,
        short=lambda text: figures.printed(text, 1 if "." in text else 0),
        change=figures.printed_change,
        day=figures.printed_day,
        moment=figures.printed_moment,
        words=_words,
        sentence=_sentence,
        quantity=_quantity,
        label=_label,
        labelled=lambda rows: [(_label(row), row["amount"]) for row in rows],
        hidden=lambda rows, shown: figures.printed(str(len(rows) - shown)),
        largest_change=_largest_change,
        is_above_zero=lambda text: Decimal(text) > 0,
    )
    found.globals.update(span=figures.printed_span)
    return found


def _finalized(value: Any) -> Any:
    """Every text that a template prints, with nothing invisible in it; markup of our own stays as it is."""
    return figures.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _amount(text: str, currency: str) -> str:
    """Money with the currency's digits; Neon's cost may have more and is shortened here alone."""
    return figures.printed(text, minor_units(currency))


def _words(text: str) -> str:
    return text.replace("_", " ")


def _sentence(text: str) -> str:
    """`public_transfer` as `Public transfer`."""
    return _words(text)[:1].upper() + _words(text)[1:]


def _label(row: Row) -> str:
    """What a row of amounts is about: its meter, else its plan, else its kind of line."""
    return _sentence(row.get("meter") or row.get("plan") or row.get("kind") or "no plan")


def _largest_change(rows: Sequence[Row], currency: str) -> str:
    """The change that a list's bars are measured against; those of another currency have their own."""
    changes = [str(row["change"]) for row in rows if row["currency"] == currency]
    return max(changes, key=lambda text: abs(Decimal(text)))


def _quantity(text: str) -> Markup:
    """A quantity with all its digits, so that a line can be computed again; those after the third stand back."""
    whole, point, digits = figures.printed(text).partition(".")
    fine = Markup('<span class="fine">{}</span>').format(digits[3:]) if digits[3:] else ""
    return Markup("{}{}{}{}").format(whole, point, digits[:3], fine)


def _replace(path: Path, content: bytes) -> None:
    """Puts the file in place whole: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    """Makes the renames in it last through a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale_drafts(directory: Path, written: set[Path]) -> None:
    for path in sorted(directory.glob("draft-*.html")):
        if path not in written:
            path.unlink()
