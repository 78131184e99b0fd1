"""Issues supplements: bills usage of a closed month that had no customer at its close and has one now.

Running it twice changes nothing. supplement.py knows what a supplement holds, freezing.py how it is numbered.
"""

from dataclasses import replace
from datetime import datetime

from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.period import Period, month_name
from metering.invoicing.amending.supplement import Supplement, supplements
from metering.invoicing.blockers import NO_WAIVERS, Waivers
from metering.invoicing.closing import Closing, closing_of, with_drafts
from metering.invoicing.freezing import freeze, said_of
from metering.ledger.ledger import Ledger
from metering.store.database import Store


def supplement(
    ledger: Ledger, config: Config, period: Period, now: datetime, *, waivers: Waivers = NO_WAIVERS
) -> Closing:
    """Issues supplementary invoices for usage that had no customer at the close and has one now.

    Raises MeteringError where the month is not closed, was closed under older rules, or a customer's supplement cannot
    be issued. What is billed is not billed again: running it twice changes nothing. `waivers` are recorded with what is
    issued, for what it leaves out once more.
    """
    known = Recorded(store=ledger.store, as_of_seq=ledger.journal.seq)
    found = _supplements(known, config, period, now)
    numbers = [number for one in found for number in _record_supplement(ledger, config, one, waivers)]
    return replace(closing_of(ledger.store, period, numbers), is_new=bool(numbers))


def rehearse_supplement(store: Store, config: Config, period: Period, now: datetime) -> Closing:
    """What `supplement` would issue; writes nothing."""
    found = _supplements(Recorded(store=store), config, period, now)
    stored = closing_of(store, period)
    drafts = [draft for one in found for draft in one.drafts]
    return replace(stored, invoices=with_drafts(stored.invoices, drafts))


def _supplements(recorded: Recorded, config: Config, period: Period, now: datetime) -> list[Supplement]:
    """The supplements with anything to bill. Raises MeteringError with all customers who have a conflict."""
    found = supplements(recorded, config, period, now)
    conflicts = {customer: why for one in found for customer, why in one.conflicts().items()}
    if conflicts:
        said = "; ".join(f"{customer}: {why}" for customer, why in sorted(conflicts.items()))
        hint = "correct their rows, or void what they were billed and close the month anew for them"
        raise MeteringError(f"no supplement of {month_name(period)} was issued: {said}", hint=hint)
    return [one for one in found if one.drafts]


def _record_supplement(ledger: Ledger, config: Config, found: Supplement, waivers: Waivers) -> list[str]:
    """Numbers the drafts and journals them as a closing based on another; returns the numbers."""
    month, base, drafts = found.month, found.closing.base, [*found.drafts]
    assert base is not None, "a supplement has a base"
    return freeze(
        ledger,
        config,
        month,
        drafts,
        facts={"supplements": base.seq, "gained": list(found.closing.gained)},
        said={"parked": {}, "settled": [], "released": {}, **said_of(waivers, is_by_itself=False)},
    )
