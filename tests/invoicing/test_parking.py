"""Holds: the rules exactly at their bounds; holding, releasing and dry runs of a close."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.core.errors import MeteringError
from metering.invoicing import holds
from metering.invoicing.holds import Amount, Unknown
from metering.invoicing.issued import read as read_all
from metering.store import journal
from tests.support.card import plan, price, subscription
from tests.support.documents import invoice_of
from tests.support.pages_of import Books, books, moment

HOUR = 3600


def draft(total, currency="USD", customer="one"):
    return Amount(customer=customer, currency=currency, total=total)


def issued_for(total, currency="USD", customer="one"):
    return invoice_of({"customer": {"id": customer, "name": customer}, "currency": currency, "total": total})


def issued(*totals, currency="USD", customer="one"):
    return [Amount(customer=customer, currency=currency, total=total) for total in totals]


def parked(*drafts, history=(), unknown=(), conflicts=None):
    return holds.reasons(drafts, history, unknown, conflicts or {})


def test_ten_times_the_usual_is_fine_and_a_cent_more_is_not():
    history = issued("20.00", "30.00", "40.00")

    assert parked(draft("300.00"), history=history) == {}
    assert parked(draft("300.01"), history=history) == {
        "one": "its total would be 300.01 USD, more than 10 times the usual 30 (median of the last 3)"
    }


def test_the_usual_of_an_even_number_lies_between_the_middle_two():
    history = issued("10.00", "20.01")

    assert parked(draft("150.05"), history=history) == {}
    assert parked(draft("150.06"), history=history) == {
        "one": "its total would be 150.06 USD, more than 10 times the usual 15.005 (median of the last 2)"
    }


def test_one_earlier_invoice_makes_nothing_usual():
    assert parked(draft("100000.00"), history=issued("1.00")) == {}


@pytest.mark.parametrize(
    ("currency", "floor", "beyond"),
    [("USD", "100.00", "100.01"), ("JPY", "100", "101"), ("KWD", "100.000", "100.001")],
)
def test_up_to_a_hundred_units_nothing_is_unusual(currency, floor, beyond):
    history = issued("1", "1", currency=currency)

    assert parked(draft(floor, currency), history=history) == {}
    assert list(parked(draft(beyond, currency), history=history)) == ["one"]


def test_free_months_make_an_expensive_one_unusual():
    assert list(parked(draft("100.01"), history=issued("0.00", "0.00"))) == ["one"]


def test_invoices_of_another_customer_or_currency_say_nothing():
    other = [*issued("1.00", "1.00", customer="two"), *issued("1.00", "1.00", currency="EUR")]

    assert parked(draft("1000.00"), history=other) == {}


def test_a_total_below_zero_waits_and_zero_does_not():
    assert parked(draft("-0.01")) == {"one": "its total would be -0.01 USD"}
    assert parked(draft("0.00")) == {}


def test_several_reasons_stand_together():
    found = parked(
        draft("-1.00"),
        unknown=[Unknown(customer="one", project_id="a", metric="gpu_seconds")],
        conflicts={"two": "two currencies"},
    )

    assert found == {
        "one": "project a used gpu_seconds, which no meter knows; its total would be -1.00 USD",
        "two": "two currencies",
    }


def test_differences_stand_beside_the_month_before():
    now = [issued_for("30.00"), issued_for("5.00", customer="new"), issued_for("7.00", "EUR")]
    before = [issued_for("20.00"), issued_for("9.00", customer="gone"), issued_for("1.00")]

    assert holds.differences(now, before) == [
        {"customer": "gone", "currency": "USD", "previous": "9.00", "total": None, "difference": "-9.00"},
        {"customer": "new", "currency": "USD", "previous": None, "total": "5.00", "difference": "5.00"},
        {"customer": "one", "currency": "EUR", "previous": None, "total": "7.00", "difference": "7.00"},
        {"customer": "one", "currency": "USD", "previous": "21.00", "total": "30.00", "difference": "9.00"},
    ]


# -- through a ledger


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Books]:
    """Projects a and b of customers one and two, at 1.00 per CU-hour and without a fee."""
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    with books(tmp_path, "2026-10-03", plans=(plan("pro", price(unit_price="1.00")),), subscriptions=rows) as found:
        found.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "ab"))
        yield found


def read(desk: Books, name: str, now: str, **hours: int) -> None:
    """Lands a month in which each project used this many hours, all read at `now`."""
    is_earlier = moment(now) < desk.now
    desk.now = moment(now)
    if is_earlier:
        desk.ledger.adopt({}, is_compared=False, is_clock=True)  # the desk was made at a later time
    for project, count in hours.items():
        desk.use(project, f"{name}-10T05", compute_unit_seconds=count * HOUR)
    desk.read(name)


def test_an_unusual_invoice_waits_while_the_others_close_and_a_release_issues_it(desk):
    for name, now in (("2026-07", "2026-08-03"), ("2026-08", "2026-09-03")):
        read(desk, name, now, a=20, b=20)
        desk.close(name)
    read(desk, "2026-09", "2026-10-03", a=201, b=200)

    done = desk.close("2026-09")
    assert done.issued == ["INV-2026-000005"]
    assert done.parked == {
        "one": "its total would be 201.00 USD, more than 10 times the usual 20 (median of the last 2)"
    }
    before = desk.ledger.journal.seq
    assert desk.close("2026-09").parked == done.parked
    assert desk.ledger.journal.seq == before
    assert desk.shown("2026-09")["parked"] == [{"customer": "one", "reason": done.parked["one"]}]

    released = desk.close("2026-09", release={"one": "they told us of a launch"})
    assert (released.issued, released.parked) == (["INV-2026-000006"], {})
    assert desk.invoice("2026-09", "one")["total"] == "201.00"
    assert desk.shown("2026-09")["parked"] == []
    [data] = [
        record.data
        for record in journal.read(desk.ledger.journal.directory)
        if record.kind == "close" and record.data["released"]
    ]
    assert data["released"] == {"one": "they told us of a launch"}
    assert desk.faults() == []


def test_only_the_parked_can_be_released(desk):
    read(desk, "2026-09", "2026-10-03", a=1, b=1)
    with pytest.raises(MeteringError, match="one is not parked in 2026-09"):
        desk.close("2026-09", release={"one": "now"})
    desk.close("2026-09")
    with pytest.raises(MeteringError, match="one is not parked in 2026-09"):
        desk.close("2026-09", release={"one": "now"})


def test_a_negative_total_waits_and_a_release_issues_the_credit(desk):
    read(desk, "2026-09", "2026-10-03", a=30, b=1)
    desk.close("2026-09")
    desk.use("a", "2026-09-10T05", compute_unit_seconds=10 * HOUR)
    read(desk, "2026-10", "2026-11-03", a=5, b=1)
    desk.read("2026-09")

    done = desk.close("2026-10")
    assert done.parked == {"one": "its total would be -15.00 USD"}
    desk.close("2026-10", release={"one": "agreed"})
    assert desk.invoice("2026-10", "one")["total"] == "-15.00"
    assert desk.faults() == []


def test_a_parked_customers_corrections_come_with_its_own_invoice_and_only_there(desk):
    read(desk, "2026-09", "2026-10-03", a=30, b=1)
    desk.close("2026-09")
    desk.use("a", "2026-09-10T05", compute_unit_seconds=10 * HOUR)
    read(desk, "2026-10", "2026-11-03", a=5, b=1)
    desk.read("2026-09")
    desk.close("2026-10")
    read(desk, "2026-11", "2026-12-03", a=50, b=1)

    desk.close("2026-11")
    assert [line["amount"] for line in desk.invoice("2026-11", "one")["lines"]] == ["-20.00", "50.00"]
    desk.close("2026-10")
    assert [line["amount"] for line in desk.invoice("2026-10", "one")["lines"]] == ["5.00"]
    assert desk.faults() == []


def test_usage_that_no_meter_knows_parks_whose_it_was_and_nobody_who_is_closed(desk):
    ended = moment("2026-09-20")
    desk.subscriptions = (
        subscription("a", "one", "pro", None, ended),
        subscription("a", "two", "pro", ended, None),
        subscription("b", "two", "pro"),
    )
    desk.use("a", "2026-09-12T05", gpu_seconds=7)
    read(desk, "2026-09", "2026-10-03", a=1, b=1)

    done = desk.close("2026-09")

    assert done.parked == {"one": "project a used gpu_seconds, which no meter knows"}
    assert desk.invoice("2026-09", "two")["status"] == "final"
    assert desk.close("2026-09", release={"one": "a trial of Neon's"}).parked == {}


def test_a_customer_of_two_currencies_waits_while_the_others_close_and_cannot_be_released(desk):
    desk.plans = (*desk.plans, plan("euro", price(unit_price="1.00"), currency="EUR"))
    desk.subscriptions = (
        subscription("a", "one", "pro"),
        subscription("b", "one", "euro"),
        subscription("c", "two", "pro"),
    )
    desk.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "abc"))
    read(desk, "2026-09", "2026-10-03", a=1, b=1, c=1)

    done = desk.close("2026-09")

    assert done.issued == ["INV-2026-000001"]
    assert done.parked == {"one": "plan 'pro' is in USD, other charges of 'one' are in EUR"}
    with pytest.raises(MeteringError, match="one cannot be released: plan 'pro' is in USD"):
        desk.close("2026-09", release={"one": "please"})
    desk.subscriptions = (*desk.subscriptions[::2], subscription("b", "three", "euro"))
    assert desk.close("2026-09").issued == ["INV-2026-000002"]
    assert desk.faults() == []


def test_corrections_in_another_currency_than_the_months_own_park_the_customer(desk):
    read(desk, "2026-09", "2026-10-03", a=30, b=1)
    desk.close("2026-09")
    desk.plans = (plan("pro", price(unit_price="1.00"), currency="EUR"),)
    desk.use("a", "2026-09-10T05", compute_unit_seconds=31 * HOUR)
    read(desk, "2026-10", "2026-11-03", a=5, b=1)
    desk.read("2026-09")

    done = desk.close("2026-10")

    assert done.parked == {"one": "plan 'pro' is in EUR, other charges of 'one' are in USD"}
    assert desk.invoice("2026-10", "two")["total"] == "1.00"
    assert desk.faults() == []


def test_a_rehearsal_changes_nothing_and_shows_the_difference_to_the_month_before(desk):
    read(desk, "2026-08", "2026-09-03", a=10, b=4)
    desk.close("2026-08")
    read(desk, "2026-09", "2026-10-01", a=12, b=0)
    before = desk.ledger.journal.seq

    done = desk.rehearse("2026-09")

    assert [(row.customer.id, row.status, row.total) for row in read_all(done.invoices)] == [("one", "draft", "12.00")]
    assert done.differences == [
        {"customer": "one", "currency": "USD", "previous": "10.00", "total": "12.00", "difference": "2.00"},
        {"customer": "two", "currency": "USD", "previous": "4.00", "total": None, "difference": "-4.00"},
    ]
    assert desk.ledger.journal.seq == before
