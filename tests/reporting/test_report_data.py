from datetime import UTC, datetime
from fractions import Fraction

import pytest

from metering.core.period import month_of
from metering.reporting.build import build
from metering.reporting.facts import Facts
from tests.support.sample_month import facts

SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))
WHOLE = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}
COVERED = {"hours": 720, "covered_hours": 720, "complete": True, "gaps": []}


def month(**parts):
    """A month without any facts except the given parts."""
    lists = (
        *("invoices", "previous_invoices", "usage", "previous_usage", "quotas"),
        *("alerts", "unassigned", "unpriced", "costs", "days"),
    )
    empty = {name: [] for name in lists}
    common = {
        "month": SEPTEMBER,
        "as_of": datetime(2026, 10, 3, tzinfo=UTC),
        "seller": {"name": "Acme"},
        "coverage": COVERED,
    }
    return Facts(**(empty | common | parts))


def line(amount, *, project="p-1", plan="pro", kind="usage", meter="compute", quantity="1"):
    return {
        **{"key": f"{project}/{meter}", "kind": kind, "project_id": project, "plan": plan, "meter": meter},
        **{"description": "x", "from": WHOLE["start"], "to": WHOLE["end"]},
        **{"quantity": quantity, "unit": "CU-hour", "unit_price": amount, "amount": amount},
    }


def invoice(customer, lines, *, subtotal, total=None, taxes=(), **parts):
    return {
        **{"number": f"INV-{customer}", "status": "final", "customer": {"id": customer, "name": customer.title()}},
        **{"currency": "USD", "period": WHOLE, "issued_at": WHOLE["end"], "due_at": WHOLE["end"]},
        **{"lines": lines, "subtotal": subtotal, "taxes": list(taxes), "total": total or subtotal},
        **{"coverage": COVERED, "as_of": WHOLE["end"], "rate_card_sha256": "00"},
        **parts,
    }


def used(project, quantity, *, customer="ann", meter="compute"):
    return {
        **{
            "organization": "org-1",
            "project_id": project,
            "project_name": project,
            "customer": customer,
            "plan": "pro",
        },
        **{"metric": f"{meter}_seconds", "value": "1", "meter": meter, "quantity": quantity, "unit": "CU-hour"},
    }


def cost(customer, amount, *, project="p-1", plan="pro"):
    return {
        **{"organization": "org-1", "project_id": project, "customer": customer, "plan": plan, "meter": "compute"},
        **{"quantity": "1", "unit": "CU-hour", "amount": amount, "currency": "USD"},
    }


def quota(percent, *, project="p-1", level="ok"):
    return {
        **{
            "project_id": project,
            "project_name": project,
            "customer": "ann",
            "plan": "pro",
            "quota": "compute_time_seconds",
        },
        **{"used": "1", "limit": "2", "percent": percent, "level": level, "threshold_percent": None},
        **{"source": "counter", "observed_at": WHOLE["start"], "period": WHOLE, "forecast": None},
    }


def test_totals_add_rounded_invoices_and_keep_tax_apart():
    vat = {"name": "VAT", "rate_percent": "21", "base": "25.49", "amount": "5.35"}
    report = build(
        month(
            invoices=[
                invoice("ann", [line("20.00"), line("5.49")], subtotal="25.49", total="30.84", taxes=[vat]),
                invoice("bob", [line("0.01", project="p-2")], subtotal="0.01"),
            ]
        )
    )
    assert report["totals"] == [
        {
            **{"currency": "USD", "invoices": 2, "customers": 2, "subtotal": "25.50", "tax": "5.35", "total": "30.85"},
            **{"previous_subtotal": None, "change": None, "change_percent": None},
        }
    ]
    assert report["checks"] == {"invoices": 2, "agree": True, "differing": []}


def test_an_invoice_whose_lines_do_not_add_up_is_named():
    wrong_lines = invoice("ann", [line("1.00")], subtotal="1.01")
    wrong_tax = invoice("bob", [line("1.00")], subtotal="1.00", total="1.01")
    report = build(month(invoices=[wrong_lines, wrong_tax, invoice("cid", [line("1.00")], subtotal="1.00")]))
    assert report["checks"] == {"invoices": 3, "agree": False, "differing": ["INV-ann", "INV-bob"]}


def test_a_void_invoice_and_its_credit_note_count_nowhere_and_the_new_one_does():
    void = invoice("ann", [line("9.00")], subtotal="9.00", status="void", number="INV-1")
    note = invoice("ann", [line("-9.00")], subtotal="-9.00", kind="credit_note", credits="INV-1", number="CN-1")
    anew = invoice("ann", [line("7.00")], subtotal="7.00", number="INV-2")
    report = build(month(invoices=[void, note, anew]))
    assert report["totals"][0]["subtotal"] == "7.00"
    assert report["customers"][0]["invoices"] == ["INV-2"]
    assert report["plans"][0]["amount"] == "7.00"
    assert report["report"]["documents"] == {"final": 2 - 1, "draft": 0, "void": 1, "credit_note": 1}


def test_two_currencies_are_never_added_and_only_dollars_have_a_margin():
    report = build(
        month(
            invoices=[
                invoice("ann", [line("10.00")], subtotal="10.00"),
                invoice("jun", [line("1500", project="p-2", plan="tokyo")], subtotal="1500", currency="JPY"),
            ],
            usage=[used("p-1", "1")],
            costs=[
                cost("ann", "4.00"),
                cost("jun", "3.00", project="p-2", plan="tokyo"),
                cost(None, "0.50", project="p-3", plan=None),
            ],
        )
    )
    assert [(row["currency"], row["subtotal"]) for row in report["totals"]] == [("JPY", "1500"), ("USD", "10.00")]
    assert report["margin"] == {
        "currency": "USD",
        "revenue": "10.00",
        "neon_cost": "4.50",
        "margin": "5.50",
        "margin_percent": "55.00",
        "cost_not_billed": "0.50",
        "cost_billed_in_other_currencies": "3.00",
        "currencies_without_margin": ["JPY"],
    }
    yen, dollars = report["customers"]
    assert (yen["neon_cost"], yen["margin"], yen["margin_percent"]) == ("3.00", None, None)
    assert (dollars["neon_cost"], dollars["margin"], dollars["margin_percent"]) == ("4.00", "6.00", "60.00")


def test_without_a_dollar_of_revenue_there_is_no_margin_but_the_cost_is_known():
    only_yen = invoice("jun", [line("1500")], subtotal="1500", currency="JPY")
    report = build(month(invoices=[only_yen], usage=[used("p-1", "1")], costs=[cost("jun", "3.00")]))
    assert report["margin"]["margin"] is None
    assert report["costs"]["total"] == "3.00"


def test_usage_that_could_not_be_priced_has_an_unknown_cost_and_usage_within_neons_allowances_costs_nothing():
    paid = [invoice("ann", [line("10.00")], subtotal="10.00")]
    free = build(month(invoices=paid, usage=[used("p-1", "1")]))
    assert (free["costs"]["total"], free["margin"]["margin"]) == ("0.00", "10.00")
    note = ("org-a: the plan v9 has no price list",)
    unknown = build(month(invoices=paid, usage=[used("p-1", "1")], cost_notes=note))
    assert unknown["costs"]["total"] is None
    assert unknown["margin"]["margin"] is None
    assert unknown["customers"][0]["neon_cost"] is None
    nothing = build(month(invoices=paid))
    assert nothing["costs"]["total"] == "0.00"
    assert nothing["margin"]["margin"] == "10.00"


def test_cost_keeps_digits_beyond_the_cent():
    report = build(month(usage=[used("p-1", "1")], costs=[cost(None, "0.0001"), cost(None, "0.0002")]))
    assert report["costs"]["total"] == "0.0003"
    assert report["margin"]["margin"] == "-0.0003"
    assert report["margin"]["margin_percent"] is None
    assert report["projects"][0]["margin"] == "-0.0003"


def test_movers_compare_two_months_and_say_who_is_new_and_who_left():
    report = build(
        month(
            invoices=[
                invoice("ann", [line("30.00")], subtotal="30.00"),
                invoice("new", [line("5.00")], subtotal="5.00"),
            ],
            previous_invoices=[
                invoice("ann", [line("20.00")], subtotal="20.00"),
                invoice("bob", [line("8.00")], subtotal="8.00"),
                invoice("eve", [line("0.00")], subtotal="0.00"),
            ],
        )
    )
    gains, losses = report["movers"]["gains"], report["movers"]["losses"]
    assert [(row["customer"], row["change"], row["change_percent"], row["reason"]) for row in gains] == [
        ("ann", "10.00", "50.00", "changed"),
        ("new", "5.00", None, "new"),
    ]
    assert [(row["customer"], row["change"], row["change_percent"], row["reason"]) for row in losses] == [
        ("bob", "-8.00", "-100.00", "left")
    ]
    assert report["totals"][0]["change"] == "7.00"


def test_the_five_largest_changes_are_kept_per_currency():
    now = [invoice(f"c{n}", [line(f"{n}.00")], subtotal=f"{n}.00") for n in range(1, 8)]
    yen = [invoice("jun", [line("1")], subtotal="1", currency="JPY")]
    before = [invoice("old", [line("0.00")], subtotal="0.00")]
    gains = build(month(invoices=now + yen, previous_invoices=before))["movers"]["gains"]
    assert [(row["currency"], row["customer"]) for row in gains] == [
        ("JPY", "jun"),
        *[("USD", name) for name in ("c7", "c6", "c5", "c4", "c3")],
    ]


def test_a_currency_of_last_month_only_is_a_total_of_zero():
    report = build(month(previous_invoices=[invoice("jun", [line("9")], subtotal="9", currency="JPY")]))
    assert [(row["currency"], row["subtotal"], row["change"], row["change_percent"]) for row in report["totals"]] == [
        ("JPY", "0", "-9", "-100.00")
    ]


def test_what_was_sold_is_split_by_meter_and_kind_with_shares_of_revenue():
    lines = [
        line("75.00", kind="base_fee", meter=None, quantity="1"),
        line("20.00", quantity="34.293333333333"),
        line("10.00", quantity="0.000000000001", project="p-2"),
        line("-5.00", kind="adjustment", meter="compute"),
    ]
    report = build(month(invoices=[invoice("ann", lines, subtotal="100.00")]))
    assert [
        (row["kind"], row["meter"], row["quantity"], row["amount"], row["share_percent"]) for row in report["billed"]
    ] == [
        ("base_fee", None, "1", "75.00", "75.00"),
        ("usage", "compute", "34.293333333334", "30.00", "30.00"),
        ("adjustment", "compute", "1", "-5.00", "-5.00"),
    ]


@pytest.mark.parametrize(
    ("percent", "counts"), [("79.99", [0, 0, 0]), ("80.00", [1, 0, 0]), ("95.00", [1, 1, 0]), ("100.00", [1, 1, 1])]
)
def test_quotas_are_counted_exactly_at_their_thresholds(percent, counts):
    figures = build(month(quotas=[quota(percent)]))["figures"]
    assert [row["count"] for row in figures["quotas_at_least"]] == counts
    assert [row["threshold_percent"] for row in figures["quotas_at_least"]] == [80, 95, 100]


def test_thresholds_are_those_of_the_configuration():
    figures = build(month(quotas=[quota("50.00")], thresholds_percent=(50, 100)))["figures"]
    assert figures["quotas_at_least"] == [{"threshold_percent": 50, "count": 1}, {"threshold_percent": 100, "count": 0}]


def test_quotas_are_sorted_by_percentage_as_a_number_with_the_unknown_last():
    rows = [
        quota("9.00", project="a"),
        quota(None, project="b", level="unknown"),
        quota("100.00", project="c"),
        quota("10.00", project="d"),
    ]
    report = build(month(quotas=rows))
    assert [row["project_id"] for row in report["quotas"]] == ["c", "d", "a", "b"]
    assert report["figures"]["quotas_unknown"] == 1


def test_a_month_is_open_until_the_instant_at_which_it_ends():
    before = build(month(as_of=datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC)))["report"]
    after = build(month(as_of=datetime(2026, 10, 1, tzinfo=UTC)))["report"]
    assert (before["is_open"], before["is_draft"]) == (True, True)
    assert (after["is_open"], after["is_draft"]) == (False, False)


def test_one_draft_makes_the_month_a_draft():
    draft = invoice("ann", [line("1.00")], subtotal="1.00", number=None, status="draft")
    report = build(month(invoices=[draft, invoice("bob", [line("1.00")], subtotal="1.00")]))["report"]
    assert report["is_draft"] is True
    assert report["documents"] == {"final": 1, "draft": 1, "void": 0, "credit_note": 0}


def test_a_month_that_nobody_closed_is_a_draft_also_without_a_document():
    assert build(month())["report"]["is_draft"] is False
    assert build(month(is_closed=False))["report"]["is_draft"] is True


def test_days_run_to_as_of_and_a_day_that_a_gap_touches_is_marked():
    gap = {"organization": "org-1", "start": "2026-09-02T23:00:00Z", "end": "2026-09-03T00:00:00Z", "reason": "403"}
    report = build(
        month(
            as_of=datetime(2026, 9, 4, tzinfo=UTC),
            usage=[used("p-1", "1.5"), used("p-2", "1.5")],
            coverage={"hours": 72, "covered_hours": 71, "complete": False, "gaps": [gap]},
            days=[
                {"day": "2026-09-02", "meter": "compute", "quantity": "1.25"},
                {"day": "2026-09-02T00:00:00Z", "meter": "compute", "quantity": "0.75"},
                {"day": "2026-09-03", "meter": "storage", "quantity": "9"},
            ],
        )
    )
    assert report["meters"][0]["days"] == [
        {"day": "2026-09-01", "quantity": "0", "has_gap": False},
        {"day": "2026-09-02", "quantity": "2", "has_gap": True},
        {"day": "2026-09-03", "quantity": "0", "has_gap": False},
    ]
    assert (report["meters"][0]["quantity"], report["meters"][0]["projects"]) == ("3", 2)
    assert report["coverage"]["percent"] == "98.61"
    assert report["coverage"]["gaps"] == [{**gap, "hours": 1}]


def test_a_meter_is_compared_with_the_month_before_where_that_is_known():
    grown = build(month(usage=[used("p-1", "3")], previous_usage=[used("p-1", "2")]))["meters"][0]
    assert (grown["previous_quantity"], grown["change_percent"]) == ("2", "50.00")
    unknown = build(month(usage=[used("p-1", "3")]))["meters"][0]
    assert (unknown["previous_quantity"], unknown["change_percent"]) == (None, None)
    new = build(month(usage=[used("p-1", "3")], previous_usage=[used("p-1", "2", meter="storage")]))["meters"][0]
    assert (new["previous_quantity"], new["change_percent"]) == ("0", None)


def test_every_part_of_a_large_month_adds_up_to_its_invoices():
    sample = facts()
    report = build(sample)
    subtotal = sum(Fraction(row["subtotal"]) for row in sample.invoices)
    for table, column in [("totals", "subtotal"), ("customers", "subtotal"), ("plans", "amount"), ("billed", "amount")]:
        assert sum(Fraction(row[column]) for row in report[table]) == subtotal, table
    cost_of_all = sum(Fraction(row["amount"]) for row in sample.costs)
    assert Fraction(report["costs"]["total"]) == cost_of_all
    assert Fraction(report["margin"]["margin"]) == subtotal - cost_of_all
    assert report["margin"]["cost_not_billed"] != "0.00"
    assert len(report["customers"]) == 59


def test_the_order_of_the_facts_changes_nothing():
    sample = facts()
    turned = Facts(
        **{name: getattr(sample, name) for name in ("month", "as_of", "seller", "coverage")},
        **{
            name: list(reversed(getattr(sample, name)))
            for name in (
                "previous_invoices",
                "usage",
                "previous_usage",
                "quotas",
                "alerts",
                "unassigned",
                "unpriced",
                "costs",
                "days",
            )
        },
        invoices=list(reversed(sample.invoices)),
    )
    assert build(turned) == build(sample)
