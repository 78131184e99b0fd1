"""Differences between two dry runs of a closing."""

from metering.core.period import month_of
from metering.invoicing import last_draft
from tests.support.books import when
from tests.support.documents import invoice_of

SEPTEMBER = month_of(when("2026-09-01"))


def invoice(customer, total, lines, currency="USD"):
    rows = [{"key": key, "quantity": quantity, "amount": amount, "unit": "GB"} for key, quantity, amount in lines]
    return invoice_of({"customer": {"id": customer, "name": "…"}, "currency": currency, "total": total, "lines": rows})


def test_without_an_earlier_one_there_is_nothing_to_compare_with(tmp_path):
    assert last_draft.compared(tmp_path, SEPTEMBER, [invoice("a", "1.00", [])]) is None
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "2026-09.json").write_text('{"as_of": "2026-10-01T00:')
    assert last_draft.compared(tmp_path, SEPTEMBER, [invoice("a", "1.00", [])]) is None


def test_customers_and_lines_appear_vanish_and_change(tmp_path):
    before = [
        invoice("a", "3.000", [("x", "1", "1.000"), ("y", "2", "2.000")], "KWD"),
        invoice("gone", "5.00", [("z", "1", "5.00")]),
    ]
    now = [
        invoice("a", "2.500", [("x", "0.5", "0.500"), ("w", "2", "2.000")], "KWD"),
        invoice("new", "7.00", [("v", "1", "7.00")]),
    ]
    last_draft.keep(tmp_path, SEPTEMBER, before, when("2026-10-01"))

    found = last_draft.compared(tmp_path, SEPTEMBER, now)

    assert found["as_of"] == "2026-10-01T00:00:00Z"
    a, gone, new = found["customers"]
    assert {name: a[name] for name in ("customer", "currency", "draft", "total", "difference")} == {
        "customer": "a",
        "currency": "KWD",
        "draft": "3.000",
        "total": "2.500",
        "difference": "-0.500",
    }
    assert (a["appeared"], a["vanished"]) == (
        [{"key": "w", "quantity": "2", "amount": "2.000"}],
        [{"key": "y", "quantity": "2", "amount": "2.000"}],
    )
    (changed,) = a["changed"]
    assert (changed["key"], changed["draft_amount"], changed["amount"], changed["difference"]) == (
        *("x", "1.000", "0.500", "-0.500"),
    )
    assert (gone["draft"], gone["total"], gone["difference"]) == ("5.00", None, "-5.00")
    assert (new["draft"], new["total"], new["difference"]) == (None, "7.00", "7.00")


def test_the_file_is_the_owners_alone_and_the_last_one_counts(tmp_path):
    for total in ("1.00", "2.00"):
        last_draft.keep(tmp_path, SEPTEMBER, [invoice("a", total, [])], when("2026-10-01"))
    assert (tmp_path / "drafts" / "2026-09.json").stat().st_mode & 0o777 == 0o600
    [row] = last_draft.compared(tmp_path, SEPTEMBER, [invoice("a", "2.00", [])])["customers"]
    assert row["draft"] == "2.00"
