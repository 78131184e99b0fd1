"""Report: projects that appeared, vanished and changed, and items to check."""

from datetime import UTC, datetime

import pytest
from test_report_data import cost, invoice, line, month

from metering.invoicing.unbilled_sums import Worth, worth
from metering.reporting.changes import adjustments, changes, counts
from metering.reporting.watch import branches, idle, organizations


def project(name="p-1", **parts):
    given = {
        **{"project_id": name, "project_name": None, "customer": "ann", "plan": "pro"},
        **{"previous_customer": "ann", "previous_plan": "pro", "created_at": "2026-01-01T00:00:00Z"},
        **{"deleted_at": None, "last_active_at": None, "is_listed": True},
    }
    return {**given, **parts}


def told(**parts):
    return [
        (row["change"], row["customer"], row["project_id"], row["was"], row["now"], row["amount"])
        for row in changes(month(**parts))
    ]


def billed(customer, amount="5.00", currency="USD"):
    return invoice(customer, [line(amount)], subtotal=amount, currency=currency)


def test_a_customer_without_an_invoice_the_month_before_is_new_and_one_without_an_invoice_now_is_lost():
    found = told(invoices=[billed("ann"), billed("bob")], previous_invoices=[billed("ann"), billed("eve", "7.00")])
    assert found == [
        ("new customer", "bob", None, None, None, "5.00"),
        ("lost customer", "eve", None, None, None, "7.00"),
    ]


def test_a_void_invoice_makes_nobody_a_customer():
    void = {**billed("bob"), "status": "void"}
    assert told(invoices=[billed("ann"), void], previous_invoices=[billed("ann")]) == []


def test_without_any_invoice_the_month_before_nobody_is_new():
    assert told(invoices=[billed("ann")]) == []


def test_another_currency_of_the_same_customer_is_no_new_customer():
    now = [billed("ann"), billed("ann", "100", "JPY")]
    assert told(invoices=now, previous_invoices=[billed("ann")]) == []


@pytest.mark.parametrize(
    ("created_at", "is_new"),
    [
        ("2026-08-31T23:59:59Z", False),
        ("2026-09-01T00:00:00Z", True),
        ("2026-09-30T23:59:59Z", True),
        ("2026-10-01T00:00:00Z", False),
    ],
)
def test_a_project_is_new_in_the_month_in_which_it_was_made(created_at, is_new):
    found = told(inventory=[project(created_at=created_at)])
    assert found == ([("new project", "ann", "p-1", None, "pro", None)] if is_new else [])


def test_a_project_that_ended_inside_the_month_is_deleted():
    assert told(inventory=[project(deleted_at="2026-09-05T00:00:00Z", plan="pro")]) == [
        ("deleted project", "ann", "p-1", "pro", None, None)
    ]


@pytest.mark.parametrize(("was", "now", "change"), [("pro", "scale", "upgrade"), ("scale", "pro", "downgrade")])
def test_the_higher_base_fee_is_the_higher_plan(was, now, change):
    fees = {"pro": "20.00", "scale": "99.00"}
    found = told(inventory=[project(previous_plan=was, plan=now)], base_fees=fees)
    assert found == [(change, "ann", "p-1", was, now, None)]


def test_plans_of_one_fee_are_neither_above_nor_below():
    found = told(inventory=[project(previous_plan="a", plan="b")], base_fees={"a": "5", "b": "5.00"})
    assert found == [("other plan", "ann", "p-1", "a", "b", None)]


def test_a_project_that_changed_hands_moved():
    found = told(inventory=[project(previous_customer="ann", customer="bob")])
    assert found == [("moved project", "bob", "p-1", "ann", "bob", None)]


def test_each_kind_of_change_is_counted_with_zeros():
    table = changes(month(inventory=[project("a", deleted_at="2026-09-05T00:00:00Z"), project("b")]))
    assert [(row["change"], row["count"]) for row in counts(table)] == [
        *(("new customer", 0), ("lost customer", 0), ("new project", 0), ("deleted project", 1)),
        *(("moved project", 0), ("upgrade", 0), ("downgrade", 0), ("other plan", 0)),
    ]


def test_corrections_are_listed_with_the_month_that_they_correct():
    correction = {**line("-2.00", kind="adjustment"), "from": "2026-08-01T00:00:00Z", "to": "2026-09-01T00:00:00Z"}
    ann = invoice("ann", [line("5.00"), correction], subtotal="3.00")
    (row,) = adjustments(month(invoices=[ann]))
    assert (row["customer"], row["from"], row["amount"], row["currency"]) == (
        *("ann", "2026-08-01T00:00:00Z", "-2.00", "USD"),
    )


AS_OF = datetime(2026, 10, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last_active_at", "is_idle"), [("2026-09-03T00:00:00Z", True), ("2026-09-03T00:00:01Z", False)]
)
def test_a_project_is_idle_thirty_days_after_it_was_active(last_active_at, is_idle):
    found = idle(month(inventory=[project(last_active_at=last_active_at)], costs=[cost("ann", "3.00")]))
    assert [(row["project_id"], row["idle_days"], row["neon_cost"]) for row in found] == (
        [("p-1", 30, "3.00")] if is_idle else []
    )


def test_where_neon_does_not_say_a_project_without_compute_is_idle():
    busy = {"project_id": "p-1", "metric": "compute_unit_seconds", "meter": None}
    resting = [project(), project("new", created_at="2026-09-20T00:00:00Z")]
    costs = [cost("ann", "3.00"), cost("ann", "1.00", project="new")]
    assert [row["project_id"] for row in idle(month(inventory=resting, costs=costs))] == ["p-1"]
    assert idle(month(inventory=resting, costs=costs, usage=[{**USED, **busy}])) == []


USED = {
    **{"organization": "org-1", "project_name": None, "customer": "ann", "plan": "pro", "value": "1"},
    **{"quantity": None, "unit": None},
}


def test_what_costs_nothing_or_is_deleted_is_not_worth_looking_at():
    gone = project("gone", is_listed=False)
    assert idle(month(inventory=[project(), gone], costs=[cost("ann", "9.00", project="gone")])) == []


def test_branches_that_cost_are_told_with_what_they_hold_and_whether_their_project_rests():
    child = {**cost("ann", "2.00"), "meter": "storage_child", "quantity": "4"}
    extra = {**cost("ann", "1.50"), "meter": "extra_branches", "quantity": "0.5"}
    found = branches(month(inventory=[project()], costs=[cost("ann", "9.00"), child, extra]))
    assert [
        (row["project_id"], row["is_idle"], row["storage_gb_month"], row["extra_branch_month"], row["neon_cost"])
        for row in found
    ] == [("p-1", True, "4", "0.5", "3.50")]
    assert idle(month(inventory=[project()], costs=[cost("ann", "9.00"), child]))[0]["of_branches"] == "2.00"


def org(name, **parts):
    read = {"inventory_read_at": None, "history_read_at": None, "certified_until": None}
    return {"organization": name, "sponsored": False, "projects": 1, **read, **parts}


def test_a_sponsored_organization_is_counted_against_thirty_thousand_projects():
    found = organizations(month(organizations=[org("b"), org("a", sponsored=True, projects=29_999)]))
    assert [(row["organization"], row["project_limit"], row["limit_percent"]) for row in found] == [
        ("a", 30_000, "99.99"),
        ("b", None, None),
    ]


def test_each_organization_has_its_neon_cost_and_a_sponsored_one_has_none():
    costs = [cost("ann", "3.00"), {**cost("bob", "1.25"), "organization": "org-2"}]
    found = organizations(month(organizations=[org("org-1"), org("org-2"), org("free", sponsored=True)], costs=costs))
    assert [row["neon_cost"] for row in found] == [None, "3.00", "1.25"]


def test_worth_is_added_per_currency_and_what_has_none_is_counted():
    rows = [("USD", "1.10"), ("USD", "2.20"), ("JPY", "5"), (None, None)]
    assert worth(rows) == [
        Worth(currency="JPY", rows=1, worth="5"),
        Worth(currency="USD", rows=2, worth="3.30"),
        Worth(currency=None, rows=1, worth=None),
    ]


def test_last_months_cost_and_margin_stand_beside_this_months():
    from metering.reporting.build import build

    now = invoice("ann", [line("10.00")], subtotal="10.00")
    before = invoice("ann", [line("8.00")], subtotal="8.00")
    costs = {"costs": [cost("ann", "4.00")], "previous_costs": [cost("ann", "5.00")]}
    report = build(month(invoices=[now], previous_invoices=[before], **costs))
    for row in (report["plans"][0], report["customers"][0]):
        names = ("previous_subtotal", "change", "margin", "previous_neon_cost", "previous_margin")
        assert [row[name] for name in names] == ["8.00", "2.00", "6.00", "5.00", "3.00"]
