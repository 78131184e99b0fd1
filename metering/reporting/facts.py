"""What a report of a month is made from, and the ways in which all its parts group and add rows.

A noun: plain rows in, plain rows out. Must not know what the report shows, files, templates, the store or the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from metering.core.money import COST_CURRENCY, Rounding
from metering.core.period import Period
from metering.core.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a report of a month is made from; money, quantities and values are decimal strings.

    `invoices` and `previous_invoices` (of the month before) are invoice objects of the public interface; a credit note
    has `"kind": "credit_note"`, the number that it cancels in `credits`, and amounts below zero. `usage`, `quotas`,
    `unassigned`, `unpriced` and `coverage` are as their commands print them. `alerts`: alert_id, type, project_id,
    project_name, customer, quota, threshold_percent, percent, observed_at, status. `costs` (what Neon charges us):
    organization, project_id, customer, plan, meter, quantity, unit, amount, currency. `days`: day, meter, quantity.
    `cost_notes` are sentences about costs that could not be known; `previous_costs` are of the month before.
    `inventory` and `organizations` are as billing/inventory.py gives them, `base_fees` plan -> its base fee.
    `unassigned` and `unpriced` are valued by rating/unbilled.py. `outlook` is what `forecast` prints, of the running
    month alone.
    `reconciliation` is what the month's last `reconcile` printed. `is_closed`: whether the month has a closing, and
    `accepted` are the reasons that a person gave for closing it all the same, as (what was accepted, reason).
    `journal_seq` is the last record that all of this comes from.
    """

    month: Period
    as_of: datetime
    seller: Mapping[str, str | None]
    invoices: Sequence[Row]
    previous_invoices: Sequence[Row]
    usage: Sequence[Row]
    previous_usage: Sequence[Row]
    coverage: Row
    quotas: Sequence[Row]
    alerts: Sequence[Row]
    unassigned: Sequence[Row]
    unpriced: Sequence[Row]
    costs: Sequence[Row]
    days: Sequence[Row]
    rounding: Rounding = "half_up"
    thresholds_percent: tuple[int, ...] = (80, 95)
    cost_notes: tuple[str, ...] = ()
    previous_costs: Sequence[Row] = ()
    inventory: Sequence[Row] = ()
    organizations: Sequence[Row] = ()
    base_fees: Mapping[str, str] = field(default_factory=dict)
    outlook: Row | None = None
    reconciliation: Row | None = None
    is_closed: bool = True
    accepted: tuple[tuple[str, str], ...] = ()
    journal_seq: int = 0

    def __post_init__(self) -> None:
        foreign = sorted({str(row["currency"]) for row in self.costs} - {COST_CURRENCY})
        assert not foreign, f"Neon charges in {COST_CURRENCY}, not in {foreign}"
