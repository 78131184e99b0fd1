"""Corrections for late and revised usage after a close, and voids. Expected numbers were computed by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.core.errors import MeteringError
from metering.explain import explain
from metering.invoicing.blockers import Waivers
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, copied, moment, month

HOUR = 3600
TENTH = plan("pro", price(unit_price="0.10"), base_fee="20.00")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Projects a and b of customers one and two, on a plan with a fee of 20.00 and 0.10 per CU-hour."""
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    with books(tmp_path_factory.mktemp("kept"), "2026-10-03", plans=(TENTH,), subscriptions=rows) as found:
        found.see(
            {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"},
            {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"},
        )
        found.use("a", "2026-09-10T05", compute_unit_seconds=100 * HOUR)
        found.use("b", "2026-09-10T05", compute_unit_seconds=10 * HOUR)
        found.read("2026-09")
    return found


@pytest.fixture
def desk(kept: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept, tmp_path) as found:
        yield found


def in_november(desk: Books, name: str = "2026-10") -> None:
    """October read in full, three days after its end."""
    desk.now = moment("2026-11-03")
    desk.use("b", f"{name}-02T05", compute_unit_seconds=HOUR)
    desk.read("2026-09", "2026-10")


def told(invoice):
    return [(line["kind"], line["project_id"], line["quantity"], line["amount"]) for line in invoice["lines"]]


def test_usage_that_arrives_after_the_close_is_a_line_of_the_next_invoice(desk):
    desk.close("2026-09")
    issued = json.dumps(desk.shown("2026-09"))
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    invoice = desk.invoice("2026-10", "one")
    [line] = [line for line in invoice["lines"] if line["kind"] == "adjustment"]
    assert {name: line[name] for name in line if name != "plan"} == {
        "key": "a/compute/pro/2026-09-01T00:00:00Z/adjustment",
        "kind": "adjustment",
        "project_id": "a",
        "meter": "compute",
        "description": "Compute: correction of 2026-09",
        "from": "2026-09-01T00:00:00Z",
        "to": "2026-10-01T00:00:00Z",
        "quantity": "50",
        "unit": "CU-hour",
        "unit_price": None,
        "amount": "5.00",
        "basis": {"rerated": "15.00", "billed": "10.00"},
        "tax_rate_percent": None,
        "tax_name": None,
    }
    assert (invoice["subtotal"], invoice["total"]) == ("25.00", "25.00")
    assert told(desk.invoice("2026-10", "two")) == [
        ("base_fee", "b", "1", "20.00"),
        ("usage", "b", "1", "0.10"),
    ]
    assert json.dumps(desk.shown("2026-09")) == issued
    assert desk.faults() == []


def test_usage_revised_down_after_the_close_is_a_credit(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-10T05", compute_unit_seconds=70 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    assert told(desk.invoice("2026-10", "one")) == [
        ("base_fee", "a", "1", "20.00"),
        ("adjustment", "a", "-30", "-3.00"),
    ]
    assert desk.faults() == []


def test_a_volume_tier_reprices_the_whole_month(desk):
    volume = {"model": "volume", "tiers": [{"up_to": "100", "unit_price": "0.10"}, {"unit_price": "0.05"}]}
    desk.plans = (plan("pro", price(**volume)),)
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=20 * HOUR)
    desk.now = moment("2026-11-03")
    desk.use("a", "2026-10-02T05", compute_unit_seconds=100 * HOUR)
    desk.read("2026-09", "2026-10")

    # 100 h at 0.10 were billed; 120 h at 0.05 are 6.00.
    assert desk.invoice("2026-09", "one")["total"] == "10.00"
    desk.close("2026-10")
    assert told(desk.invoice("2026-10", "one")) == [("adjustment", "a", "20", "-4.00"), ("usage", "a", "100", "10.00")]


def test_what_was_adjusted_once_is_not_adjusted_again(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)
    desk.close("2026-10")
    desk.use("a", "2026-09-30T22", compute_unit_seconds=2 * HOUR)
    desk.now = moment("2026-12-03")
    desk.read("2026-09", "2026-10", "2026-11")

    desk.close("2026-11")
    desk.now = moment("2027-01-03")
    desk.read("2026-12")
    desk.close("2026-12")

    assert told(desk.invoice("2026-11", "one")) == [("base_fee", "a", "1", "20.00"), ("adjustment", "a", "2", "0.20")]
    assert told(desk.invoice("2026-12", "one")) == [("base_fee", "a", "1", "20.00")]
    assert desk.faults() == []


def test_drafts_of_the_next_month_show_what_is_pending_and_later_months_do_not(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    assert desk.invoice("2026-10", "one")["total"] == "25.00"
    assert "adjustment" not in json.dumps(desk.shown("2026-11"))


def test_a_customer_who_left_gets_an_invoice_for_the_adjustment_alone(desk):
    ending = moment("2026-10-01")
    desk.subscriptions = (subscription("a", "one", "pro", None, ending), subscription("b", "two", "pro"))
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    invoice = desk.invoice("2026-10", "one")
    assert told(invoice) == [("adjustment", "a", "50", "5.00")]
    assert invoice["currency"] == "USD"
    assert invoice["coverage"] == desk.invoice("2026-10", "two")["coverage"]
    assert desk.faults() == []


def test_prices_and_owners_of_the_closed_month_stay_as_they_were_closed(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    desk.plans = (plan("pro", price(unit_price="9.00"), base_fee="1.00"),)
    desk.subscriptions = (subscription("a", "two", "pro"), subscription("b", "two", "pro"))
    in_november(desk)

    desk.close("2026-10")

    assert told(desk.invoice("2026-10", "one")) == [("adjustment", "a", "50", "5.00")]
    assert desk.faults() == []


def test_a_deletion_that_inventory_shows_later_adjusts_nothing(desk):
    desk.subscriptions = (subscription("b", "two", "pro"),)
    desk.default_plan = "pro"
    desk.close("2026-09")
    gone = {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z", "deleted_at": "2026-09-11T00:00:00Z"}
    desk.see(gone, {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"})
    desk.use("b", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    assert [invoice["customer"]["id"] for invoice in desk.shown("2026-10")["invoices"]] == ["two"]
    assert told(desk.invoice("2026-10", "two"))[1] == ("adjustment", "b", "50", "5.00")


def test_usage_behind_a_deletion_is_not_lost(desk):
    gone = {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z", "deleted_at": "2026-09-15T00:00:00Z"}
    desk.see(gone, {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"})
    desk.close("2026-09")
    desk.use("a", "2026-09-20T05", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    [line] = desk.invoice("2026-10", "one")["lines"]
    assert (line["kind"], line["amount"]) == ("adjustment", "5.00")
    assert desk.faults() == []


def test_a_project_that_nobody_knew_at_the_close_is_billed_as_an_adjustment_without_base_fee(desk):
    desk.subscriptions = (*desk.subscriptions, subscription("c", "one", "pro"))
    desk.close("2026-09")
    desk.use("c", "2026-09-20T05", compute_unit_seconds=50 * HOUR)
    desk.see(
        {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "c", "name": "c", "created_at": "2026-09-16T00:00:00Z"},
    )
    in_november(desk)

    desk.close("2026-10")

    assert told(desk.invoice("2026-10", "one")) == [
        ("base_fee", "a", "1", "20.00"),
        ("base_fee", "c", "1", "20.00"),
        ("adjustment", "c", "50", "5.00"),
    ]


def test_a_gap_that_is_filled_after_the_close_is_billed(tmp_path):
    rows = (subscription("a", "one", "pro"),)
    with books(tmp_path, "2026-10-03", plans=(plan("pro", price(unit_price="0.10")),), subscriptions=rows) as desk:
        desk.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"})
        desk.use("a", "2026-09-10T05", compute_unit_seconds=100 * HOUR)
        desk.use("a", "2026-09-29T05", compute_unit_seconds=30 * HOUR)
        desk.read("2026-09", until="2026-09-21")
        desk.close("2026-09", waivers=Waivers(incomplete="the API was down"))
        in_november(desk)
        desk.close("2026-10", waivers=Waivers(unassigned="b is ours"))

        assert desk.invoice("2026-09", "one")["total"] == "10.00"
        assert told(desk.invoice("2026-10", "one")) == [("adjustment", "a", "30", "3.00")]
        assert desk.faults() == []


def test_a_minimum_shrinks_by_what_usage_adds(desk):
    desk.plans = (plan("pro", price(unit_price="0.10"), base_fee="20.00", minimum="32.00"),)
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    # September: 20.00 + 10.00 + 2.00 to the minimum; with all usage 20.00 + 15.00. October: 20.00 + 12.00.
    assert desk.invoice("2026-09", "one")["total"] == "32.00"
    desk.close("2026-10")
    assert told(desk.invoice("2026-10", "one")) == [
        ("base_fee", "a", "1", "20.00"),
        ("adjustment", "a", "50", "5.00"),
        ("adjustment", None, "0", "-2.00"),
        ("minimum", None, "1", "12.00"),
    ]


# -- void


def test_a_void_leaves_the_bytes_and_issues_a_credit_note(desk):
    number = desk.close("2026-09").issued[0]
    was = desk.ledger.store.query("invoicing/invoice_by_number", number=number)["document"].item()

    note = desk.void(number, "the price was wrong")

    assert desk.ledger.store.query("invoicing/invoice_by_number", number=number)["document"].item() == was
    assert note == {
        **{name: json.loads(was)[name] for name in ("customer", "currency", "period", "coverage", "as_of")},
        "rate_card_sha256": json.loads(was)["rate_card_sha256"],
        "number": "CN-2026-000001",
        "status": "final",
        "kind": "credit_note",
        "credits": "INV-2026-000001",
        "reason": "the price was wrong",
        "issued_at": "2026-10-03T00:00:00Z",
        "due_at": None,
        "lines": [
            {**json.loads(was)["lines"][0], "quantity": "-1", "amount": "-20.00"},
            {**json.loads(was)["lines"][1], "quantity": "-100", "amount": "-10.00"},
        ],
        "subtotal": "-30.00",
        "taxes": [],
        "total": "-30.00",
    }
    rows = desk.shown("2026-09")["invoices"]
    assert [(row["number"], row["status"]) for row in rows] == [
        (None, "draft"),
        ("CN-2026-000001", "final"),
        ("INV-2026-000001", "void"),
        ("INV-2026-000002", "final"),
    ]
    assert desk.faults() == []


def test_closing_after_a_void_issues_that_customer_anew_with_the_configuration_of_today(desk):
    desk.close("2026-09")
    desk.void("INV-2026-000001")
    desk.plans = (plan("pro", price(unit_price="0.20"), base_fee="20.00"),)

    done = desk.close("2026-09")

    assert done.issued == ["INV-2026-000003"]
    assert told(desk.invoice("2026-09", "one")) == [("base_fee", "a", "1", "20.00"), ("usage", "a", "100", "20.00")]
    assert told(desk.invoice("2026-09", "two")) == [("base_fee", "b", "1", "20.00"), ("usage", "b", "10", "1.00")]
    assert desk.close("2026-09").issued == []
    assert desk.faults() == []


def test_late_usage_is_rated_by_the_terms_that_each_customer_was_last_closed_with(desk):
    desk.close("2026-09")
    desk.void("INV-2026-000001")
    desk.plans = (plan("pro", price(unit_price="0.20"), base_fee="20.00"),)
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    desk.use("b", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")

    assert told(desk.invoice("2026-10", "one"))[1] == ("adjustment", "a", "50", "10.00")
    assert told(desk.invoice("2026-10", "two"))[1] == ("adjustment", "b", "50", "5.00")
    assert desk.faults() == []


def test_a_voided_customer_gets_no_adjustment_but_a_new_invoice_of_all_usage(desk):
    desk.close("2026-09")
    desk.void("INV-2026-000001")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)

    desk.close("2026-10")
    assert told(desk.invoice("2026-10", "one")) == [("base_fee", "a", "1", "20.00")]
    desk.close("2026-09")
    assert told(desk.invoice("2026-09", "one")) == [("base_fee", "a", "1", "20.00"), ("usage", "a", "150", "15.00")]
    desk.now = moment("2026-12-03")
    desk.read("2026-11")
    desk.close("2026-11")
    assert told(desk.invoice("2026-11", "one")) == [("base_fee", "a", "1", "20.00")]
    assert desk.faults() == []


def test_an_invoice_issued_anew_from_all_usage_is_relieved_of_what_was_adjusted_meanwhile(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)
    desk.close("2026-10")
    desk.void("INV-2026-000001")
    desk.close("2026-09")
    desk.now = moment("2026-12-03")
    desk.read("2026-11")
    desk.close("2026-11")

    assert told(desk.invoice("2026-10", "one"))[1] == ("adjustment", "a", "50", "5.00")
    assert told(desk.invoice("2026-09", "one"))[1] == ("usage", "a", "150", "15.00")
    assert told(desk.invoice("2026-11", "one"))[1] == ("adjustment", "a", "-50", "-5.00")
    assert desk.faults() == []


def test_voiding_the_invoice_that_carried_an_adjustment_brings_it_back_on_the_new_one(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)
    desk.close("2026-10")
    number = desk.invoice("2026-10", "one")["number"]
    desk.void(number)

    assert desk.close("2026-10").issued == ["INV-2026-000005"]
    assert told(desk.invoice("2026-10", "one"))[1] == ("adjustment", "a", "50", "5.00")
    assert desk.faults() == []


def test_credit_notes_have_a_gapless_series_of_their_own_that_restarts_with_the_year(desk):
    desk.close("2026-09")
    assert desk.void("INV-2026-000001")["number"] == "CN-2026-000001"
    assert desk.void("INV-2026-000002")["number"] == "CN-2026-000002"
    desk.now = moment("2027-01-03")
    assert desk.close("2026-09").issued == ["INV-2027-000001", "INV-2027-000002"]
    assert desk.void("INV-2027-000001")["number"] == "CN-2027-000001"
    assert desk.faults() == []


@pytest.mark.parametrize(
    ("number", "what"),
    [
        ("INV-2026-000001", "INV-2026-000001 is void already"),
        ("CN-2026-000001", "CN-2026-000001 is a credit note, which cannot be voided"),
        ("INV-2026-000009", "no invoice has the number 'INV-2026-000009'"),
    ],
)
def test_what_cannot_be_voided_says_so_and_changes_nothing(desk, number, what):
    desk.close("2026-09")
    desk.void("INV-2026-000001")
    before = desk.ledger.journal.seq

    with pytest.raises(MeteringError, match=what):
        desk.void(number, "another reason")

    assert desk.ledger.journal.seq == before


def test_the_same_void_again_answers_as_the_first_one_did(desk):
    desk.close("2026-09")
    note = desk.void("INV-2026-000001")
    before = desk.ledger.journal.seq
    assert desk.void("INV-2026-000001") == note
    assert desk.ledger.journal.seq == before


def test_a_void_is_announced_once(desk):
    desk.close("2026-09")
    desk.void("INV-2026-000001")
    desk.close("2026-09")

    found = desk.ledger.store.connection.execute("select event_type, body from alert order by seq, alert_id").fetchall()
    events = [(kind, json.loads(body)["data"]["number"]) for kind, body in found]
    assert sorted(events) == [
        ("invoice.finalized", "INV-2026-000001"),
        ("invoice.finalized", "INV-2026-000002"),
        ("invoice.finalized", "INV-2026-000003"),
        ("invoice.voided", "INV-2026-000001"),
    ]
    [body] = [json.loads(body)["data"] for kind, body in found if kind == "invoice.voided"]
    assert (body["credit_note"], body["total"]) == ("CN-2026-000001", "-30.00")


def test_a_correction_on_a_draft_is_explained_before_it_is_issued(desk):
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    in_november(desk)
    wanted = (desk.ledger.store, desk.config, month("2026-10"), desk.now)

    overview = explain.explain_draft(*wanted, customer="one")
    [number] = [line["line"] for line in overview["lines"] if line["kind"] == "adjustment"]
    told = explain.explain_draft(*wanted, customer="one", line=str(number))

    assert told["agrees"]
    assert told["adjustment"]["known_up_to_record"] is None
    assert [told["adjustment"][name]["amount"] for name in ("billed", "rerated")] == ["10.00", "15.00"]
    assert told["steps"][-1] == "15.00 − 10.00 = 5.00"
