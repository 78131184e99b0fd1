"""The report arranged for paper: sections of tables whose cells are texts, and charts as SVG.

A noun: the report's dictionary in, plain JSON for the template out. Every figure comes from the report; here it is only
printed, and long tables are cut, with word of how many rows the files beside hold.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metering.core.money import COST_CURRENCY, minor_units
from metering.core.rows import Row
from metering.core.text import words
from metering.rendering import charts, figures

ROWS_SHOWN = 25
Cell = str | tuple[str, str]
"""A text, or one with a smaller one below it."""
NONE = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, how a row's cell is told, and on which side it stands."""

    label: str
    cell: Callable[[Row], Cell]
    align: str = "left"


def paper(report: Row) -> dict[str, Any]:
    """What `report.typ` prints."""
    head = report["report"]
    return {
        "title": head["title"],
        "seller": report["seller"]["name"] or "",
        "stamp": "Draft" if head["is_draft"] else None,
        "as_of": figures.printed_moment(head["as_of"]),
        "state": _state(report),
        "banners": list(_banners(report)),
        "cards": list(_cards(report)),
        "sections": [
            {"title": title, "text": text, "parts": [part for part in parts if part]}
            for title, text, parts in _sections(report)
        ],
        "method": list(_method(report)),
        "foot": head["generator"],
    }


def _state(report: Row) -> str:
    counts = report["report"]["documents"]
    kinds = [("final", "final"), ("draft", "draft"), ("void", "void"), ("credit_note", "credit notes")]
    return ", ".join(f"{counts[kind]} {name}" for kind, name in kinds if counts[kind]) or "no invoices"


def _banners(report: Row) -> Iterator[dict[str, str]]:
    coverage = report["coverage"]
    hours = f"{_count(coverage['covered_hours'])} of {_count(coverage['hours'])} hours"
    if coverage["complete"]:
        yield {"level": "good", "text": f"Complete: every hour that had to be read was read, {hours}."}
    else:
        text = f"Incomplete: {hours}; usage of the others is not known, which is not the same as none."
        yield {"level": "warn", "text": text}
    for row in report["report"]["accepted"]:
        yield {"level": "warn", "text": f"Closed all the same: {row['what']}. Reason given: {row['reason']}"}
    if not report["checks"]["agree"]:
        differing = ", ".join(report["checks"]["differing"][:10])
        yield {"level": "bad", "text": f"Lines and totals disagree on {differing}. Do not send them."}
    for note in report["costs"]["notes"]:
        yield {"level": "warn", "text": note}


def _cards(report: Row) -> Iterator[dict[str, str]]:
    for row in report["totals"]:
        before = "all of last month" if report["report"]["is_open"] else "last month"
        against = f"{_change(row)} against {before}" if row["change"] is not None else ""
        yield _card("Revenue before tax", _money(row["subtotal"], row["currency"]), row["currency"], against)
    cost, margin = report["costs"], report["margin"]
    yield _card("Neon cost", _money(cost["total"], COST_CURRENCY), COST_CURRENCY, "by Neon’s price list, before tax")
    share = f"{figures.printed(margin['margin_percent'])} % of revenue" if margin["margin_percent"] else ""
    yield _card("Margin", _money(margin["margin"], COST_CURRENCY), COST_CURRENCY, share)
    counts = report["figures"]
    projects = f"{_count(counts['projects_with_usage'])} projects with usage"
    yield _card("Customers invoiced", _count(counts["customers_invoiced"]), "", projects)
    reached = counts["quotas_at_least"][-1]["count"]
    yield _card("Quotas reached", _count(reached), "", f"of {_count(counts['quotas'])}; {counts['alerts']} alerts")


def _card(what: str, value: str, unit: str, note: str) -> dict[str, str]:
    return {"what": what, "value": value, "unit": unit if value != NONE else "", "note": note}


def _sections(report: Row) -> Iterator[tuple[str, str, list[dict[str, Any] | None]]]:
    yield "Revenue", "Before tax. Void invoices and the credit notes that cancel them count nowhere.", _revenue(report)
    if report["outlook"]:
        yield "Outlook", f"What this month will come to, before tax; {report['outlook']['method']}.", [_outlook(report)]
    yield "Customers", "", [*_customers(report), *_movers(report)]
    yield "Came, went, changed", _changed(report), _changes(report)
    yield "Usage", "By day, in UTC.", [_usage(report), *_charts(report)]
    yield "Neon cost", "Our own computation by Neon’s published price list.", _costs(report)
    yield (
        "Organizations",
        "How fresh the data are, and Neon’s cost of each.",
        [_organizations(report), _reconciled(report)],
    )
    yield "Quotas and alerts", "The fullest first; percentages are cut, not rounded.", _quotas(report)
    yield "Not billed", "What it would be worth by the plan named, less its allowance.", _not_billed(report)


def _table(
    caption: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    foot: Sequence[Sequence[str]] = (),
    shown: int = ROWS_SHOWN,
) -> dict[str, Any] | None:
    """A table of the first rows; None without any."""
    if not rows:
        return None
    cells = [[column.cell(row) for column in columns] for row in rows[:shown]]
    return {
        "caption": caption,
        "columns": [{"label": column.label, "align": column.align} for column in columns],
        "rows": [[_pair(cell) for cell in row] for row in cells],
        "foot": [list(row) for row in foot],
        "more": f"and {_count(len(rows) - shown)} more in the files beside this one" if len(rows) > shown else None,
    }


def _pair(cell: Cell) -> list[str]:
    return [cell, ""] if isinstance(cell, str) else list(cell)


def _text(name: str) -> Callable[[Row], Cell]:
    return lambda row: str(row[name] if row[name] is not None else NONE)


def _amount(name: str, currency: str | None = None) -> Callable[[Row], Cell]:
    """A column of money, in the row's currency or that given."""
    return lambda row: _money(row[name], currency or row["currency"])


def _number(name: str, places: int | None = 3) -> Callable[[Row], Cell]:
    return lambda row: NONE if row[name] is None else figures.printed(str(row[name]), places)


def _money(text: str | None, currency: str) -> str:
    return NONE if text is None else figures.printed(text, minor_units(currency))


def _count(number: int | str) -> str:
    return figures.printed(str(number))


def _change(row: Row) -> str:
    if row["change"] is None:
        return NONE
    return figures.printed_change(row["change"], minor_units(row["currency"]))


def _percent(text: str | None) -> str:
    return NONE if text is None else f"{figures.printed(text)} %"


def _change_cell(row: Row) -> Cell:
    return _change(row), f"{figures.printed_change(row['change_percent'])} %" if row["change_percent"] else ""


def _project(row: Row) -> Cell:
    name = row["project_name"] or row["project_id"] or ""
    return name, row["project_id"] if row["project_id"] and row["project_id"] != name else ""


def _customer(row: Row) -> Cell:
    name = row["customer_name"] or row["customer"] or NONE
    return name, row["customer"] if row["customer"] and row["customer"] != name else ""


def _was(row: Row, name: str, currency: str) -> Cell:
    before = row[f"previous_{name}"]
    return _money(row[name], currency), "" if before is None else f"was {_money(before, currency)}"


def _cost_columns() -> list[Column]:
    return [
        Column("Neon cost", lambda row: _was(row, "neon_cost", COST_CURRENCY), "right"),
        Column("Margin", lambda row: _was(row, "margin", COST_CURRENCY), "right"),
    ]


def _revenue(report: Row) -> list[dict[str, Any] | None]:
    parts: list[dict[str, Any] | None] = []
    sold = [
        Column("Item", lambda row: words(row["meter"] or row["kind"])),
        Column("Quantity", _number("quantity", 1), "right"),
        Column("Unit", lambda row: row["unit"] or ""),
        Column("Amount", _amount("amount"), "right"),
        Column("Share", lambda row: _percent(row["share_percent"]), "right"),
    ]
    plans = [
        Column("Plan", lambda row: row["plan"] or "No plan"),
        Column("Customers", _number("customers", 0), "right"),
        Column("Projects", _number("projects", 0), "right"),
        Column("Amount", lambda row: (_money(row["amount"], row["currency"]), _percent(row["share_percent"])), "right"),
        Column("Change", _change_cell, "right"),
        *_cost_columns(),
    ]
    for total in report["totals"]:
        currency = total["currency"]
        mine = [[row for row in report[name] if row["currency"] == currency] for name in ("billed", "plans")]
        sums = [("Revenue before tax", total["subtotal"]), ("Tax", total["tax"])]
        foot = [
            [label, "", "", _money(amount, currency), ""]
            for label, amount in (*sums, *_of_which(report, currency), ("Invoiced", total["total"]))
        ]
        parts.append(_table(f"What was sold, in {currency}", mine[0], sold, foot=foot))
        parts.append(_table(f"Per plan, in {currency}", mine[1], plans))
    return parts


def _of_which(report: Row, currency: str) -> list[tuple[str, str]]:
    """Each tax of a currency with its base, where there are several."""
    mine = [row for row in report["taxes"] if row["currency"] == currency]
    told = [
        (f"{row['name']} {figures.printed(row['rate_percent'])} % of {_money(row['base'], currency)}", row["amount"])
        for row in mine
    ]
    return told if len(told) > 1 else []


def _outlook(report: Row) -> dict[str, Any] | None:
    outlook = report["outlook"]
    rows = [{"what": "Revenue", **row} for row in outlook["totals"]] + [{"what": "Neon cost", **outlook["neon_cost"]}]
    amounts = [("so_far", "So far"), ("expected", "Expected"), ("low", "Like the quietest week"), ("high", "Busiest")]
    columns = [Column("What", _text("what")), Column("Currency", _text("currency"))]
    columns += [Column(label, _amount(name), "right") for name, label in amounts]
    return _table("By the end of the month", rows, columns)


def _customers(report: Row) -> Iterator[dict[str, Any] | None]:
    columns = [
        Column("Customer", _customer),
        Column("Plan", lambda row: ", ".join(row["plans"]) or NONE),
        Column("Amount", _amount("subtotal"), "right"),
        Column("Change", _change_cell, "right"),
        *_cost_columns(),
        Column("Invoice", lambda row: ", ".join(row["invoices"]) or "Draft"),
    ]
    for total in report["totals"]:
        rows = [row for row in report["customers"] if row["currency"] == total["currency"]]
        yield _table(f"Per customer, in {total['currency']}, before tax", rows, columns)


def _movers(report: Row) -> Iterator[dict[str, Any] | None]:
    columns = [
        Column("Customer", _customer),
        Column("Now", _amount("subtotal"), "right"),
        Column("Change", _change_cell, "right"),
        Column(
            "", lambda row: row["currency"] if row["reason"] == "changed" else f"{row['currency']}, {row['reason']}"
        ),
    ]
    yield _table("Gained most", report["movers"]["gains"], columns)
    yield _table("Lost most", report["movers"]["losses"], columns)


def _changed(report: Row) -> str:
    counts = [row for row in report["change_counts"] if row["count"]]
    said = ", ".join(f"{_count(row['count'])} {row['change']}{'' if row['count'] == 1 else 's'}" for row in counts)
    return f"{said}." if said else "Nothing changed."


def _changes(report: Row) -> list[dict[str, Any] | None]:
    changes = [
        Column("Change", lambda row: words(row["change"])),
        Column("Customer", _customer),
        Column("Project", lambda row: _project(row) if row["project_id"] else ""),
        Column("Was", lambda row: row["was"] or ""),
        Column("Now", lambda row: row["now"] or ""),
        Column(
            "Invoiced",
            lambda row: f"{_money(row['amount'], row['currency'])} {row['currency']}" if row["amount"] else "",
            "right",
        ),
    ]
    corrections = [
        Column("Customer", _customer),
        Column("What", lambda row: (row["description"], row["project_id"] or "")),
        Column("Month", lambda row: figures.printed_span(row["from"], row["to"])),
        Column(
            "Quantity",
            lambda row: (figures.printed(row["quantity"], 3), row["unit"] or "") if row["quantity"] else "",
            "right",
        ),
        Column("Amount", lambda row: f"{_money(row['amount'], row['currency'])} {row['currency']}", "right"),
    ]
    return [
        _table("Changes", report["changes"], changes),
        _table("Corrections of earlier months", report["adjustments"], corrections),
    ]


def _usage(report: Row) -> dict[str, Any] | None:
    columns = [
        Column("Meter", lambda row: words(row["meter"])),
        Column("Quantity", _number("quantity"), "right"),
        Column("Unit", _text("unit")),
        Column("Month before", _number("previous_quantity"), "right"),
        Column(
            "Change",
            lambda row: NONE if row["change_percent"] is None else f"{figures.printed_change(row['change_percent'])} %",
            "right",
        ),
        Column("Projects", _number("projects", 0), "right"),
    ]
    return _table("Per meter", report["meters"], columns)


def _charts(report: Row) -> list[dict[str, Any] | None]:
    """Two charts a row."""
    length = report["report"]["days"]
    drawn = [
        {
            "meter": words(row["meter"]),
            "unit": row["unit"],
            "svg": charts.standing_alone(
                str(charts.daily_bars(f"days-{index}", words(row["meter"]), row["unit"], row["days"], length))
            ),
            "alt": charts.days_in_words(row["unit"], row["days"]),
        }
        for index, row in enumerate(report["meters"])
        if row["days"]
    ]
    return [{"charts": drawn}] if drawn else []


def _costs(report: Row) -> list[dict[str, Any] | None]:
    costs = report["costs"]
    meters = [
        Column("Meter", lambda row: words(row["meter"])),
        Column("Quantity", _number("quantity"), "right"),
        Column("Unit", _text("unit")),
        Column(f"Cost ({COST_CURRENCY})", _amount("amount", COST_CURRENCY), "right"),
        Column("Share", lambda row: _percent(row["share_percent"]), "right"),
    ]
    project = Column("Project", _project)
    customer = Column("Customer", lambda row: row["customer"] or "nobody")
    cost = Column(f"Neon cost ({COST_CURRENCY})", _amount("neon_cost", COST_CURRENCY), "right")
    dear = [
        project,
        customer,
        cost,
        Column(
            "Billed",
            lambda row: f"{_money(row['amount'], row['currency'])} {row['currency']}" if row["currency"] else NONE,
            "right",
        ),
        Column("Margin", _amount("margin", COST_CURRENCY), "right"),
    ]
    idle = [
        project,
        customer,
        Column(
            "Last active",
            lambda row: (
                figures.printed_day(row["last_active_at"]) if row["last_active_at"] else "no compute in the month"
            ),
        ),
        cost,
        Column("of branches", _amount("of_branches", COST_CURRENCY), "right"),
    ]
    branches = [
        project,
        customer,
        Column("Idle", lambda row: "yes" if row["is_idle"] else "no"),
        cost,
        Column("Extra branch-months", _number("extra_branch_month"), "right"),
    ]
    foot = [["Total", "", "", _money(costs["total"], COST_CURRENCY), ""]]
    return [
        _table("Per meter", costs["meters"], meters, foot=foot),
        _table("Projects that cost most", report["projects"] if costs["total"] is not None else [], dear, shown=10),
        _table("Idle projects that cost: no query for 30 days or more", report["idle"], idle, shown=10),
        _table("Branches that cost", report["branches"], branches, shown=10),
    ]


def _organizations(report: Row) -> dict[str, Any] | None:
    def moment(name: str) -> Callable[[Row], Cell]:
        return lambda row: figures.printed_moment(row[name]) if row[name] else NONE

    columns = [
        Column("Organization", _text("organization")),
        Column("Projects", _number("projects", 0), "right"),
        Column(
            "Sponsored limit",
            lambda row: (
                (_count(row["project_limit"]), f"{_percent(row['limit_percent'])} used") if row["project_limit"] else ""
            ),
            "right",
        ),
        Column(f"Neon cost ({COST_CURRENCY})", _amount("neon_cost", COST_CURRENCY), "right"),
        Column("Inventory read", moment("inventory_read_at")),
        Column("History read", moment("history_read_at")),
        Column("Known until", moment("certified_until")),
    ]
    return _table("Organizations", report["organizations"], columns)


def _reconciled(report: Row) -> dict[str, Any] | None:
    found = report["reconciliation"]
    if found is None:
        return None
    steps = [{"what": "Computed by us", "amount": found["computed"]}]
    steps += [
        {"what": words(row["cause"]), "amount": row["amount"]} for row in found["causes"] if row["amount"].strip("-0.")
    ]
    columns = [
        Column("What", _text("what")),
        Column(f"Amount ({found['currency']})", _amount("amount", found["currency"]), "right"),
    ]
    foot = [["Invoiced by Neon", _money(found["invoiced"], found["currency"])]]
    return _table("Against Neon’s invoice", steps, columns, foot=foot)


def _quotas(report: Row) -> list[dict[str, Any] | None]:
    project = Column("Project", _project)
    quota = Column("Quota", lambda row: (row["quota"] or NONE).replace("_", " "))
    percent = Column("Percent", lambda row: _percent(row["percent"]), "right")
    quotas = [
        project,
        quota,
        Column("Used", _number("used", None), "right"),
        Column("Limit", _number("limit", None), "right"),
        percent,
        Column("Level", _text("level")),
    ]
    alerts = [
        Column("Observed", lambda row: figures.printed_moment(row["observed_at"])),
        project,
        quota,
        Column(
            "Threshold",
            lambda row: f"{row['threshold_percent']} %" if row["threshold_percent"] is not None else NONE,
            "right",
        ),
        percent,
        Column("Delivery", lambda row: row["status"].replace("_", " ")),
    ]
    return [_table("Quotas", report["quotas"], quotas), _table("Alerts of the month", report["alerts"], alerts)]


def _not_billed(report: Row) -> list[dict[str, Any] | None]:
    columns = [
        Column("Project", _text("project_id")),
        Column("Metric", lambda row: row["metric"].replace("_", " ")),
        Column("Value", _number("value", None), "right"),
        Column(
            "Worth",
            lambda row: (
                (f"{_money(row['worth'], row['currency'])} {row['currency']}", f"by {row['priced_as']}")
                if row.get("worth")
                else NONE
            ),
            "right",
        ),
    ]
    reason = Column("Why", lambda row: row["reason"].replace("_", " "))
    return [
        _table(f"Unassigned{_worths(report, 'unassigned')}", report["unassigned"], columns),
        _table(f"Unpriced{_worths(report, 'unpriced')}", report["unpriced"], [*columns, reason]),
    ]


def _worths(report: Row, name: str) -> str:
    rows = [row for row in report["unbilled_worth"][name] if row["currency"]]
    return "".join(f", worth {_money(row['worth'], row['currency'])} {row['currency']}" for row in rows)


def _method(report: Row) -> Iterator[str]:
    mode = "half to even" if report["report"]["rounding"] == "half_even" else "half away from zero"
    yield (
        f"Quantities and prices are exact up to the line. Each line is rounded once, {mode}; totals add rounded lines; "
        "tax is rounded once per rate."
    )
    yield (
        "Neon’s cost is computed from the same usage and Neon’s dated price list; nothing is converted. The margin "
        "includes the cost of usage that nobody was invoiced for."
    )
    checks = report["checks"]
    agree = "add up" if checks["agree"] else "do not add up"
    yield f"Lines, subtotals, taxes and totals {agree} on {_count(checks['invoices'])} invoices."
