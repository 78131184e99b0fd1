"""An edition: everything that the pages show of one published snapshot at one moment, each figure computed once.

A new snapshot gets a new edition, prepared beside the old one, so that nobody waits for figures that take long. Knows
the verbs that compute; must not know pages, requests or who asks.
"""

import gc
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, TypeVar, overload

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.billing.terms import months as terms_months
from metering.config.models import Config
from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.period import Period, month_name, month_of, parse_month, rfc3339
from metering.core.rows import Row, Table, grouped
from metering.invoicing import outlook as month_outlook
from metering.invoicing.closing import month_invoices
from metering.invoicing.rated_month import RatedMonth
from metering.ledger.alert_log import attempts as alert_log_attempts
from metering.ledger.alert_log import log
from metering.operations import status as state
from metering.quotas import status as quota_status
from metering.reporting import build, gather
from metering.reporting import projects as project_list
from metering.reporting.facts import Facts
from metering.store import database as door
from metering.store import lock
from metering.store.database import Store
from metering.web import rows, tables
from metering.web.listing import Sheet

Found = TypeVar("Found")
Index = dict[str, list[Row]]

MOST_MONTHS = 3
"""So many months' figures are kept; the month that came first goes first."""
MOST_ANSWERS = 100
"""So many other answers are kept."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """No cyclic garbage is looked for meanwhile, and once at the end.

    An edition is millions of objects that stay. Each look at them stops every thread, a second long in a large fleet,
    and while they are made Python would take half a dozen.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def _in_background(work: Callable[[], Found], name: str) -> "Future[Found]":
    """What a daemon thread makes of it: no end of the process waits for that."""
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # whoever asks for the result is told
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name=name).start()
    return future


class NotFoundError(MeteringError):
    """What an address names does not exist: a 404."""


class Once(Generic[Found]):
    """A property of something with a `turn`: computed when first asked for, by one thread at a time."""

    def __init__(self, compute: Callable[[Any], Found]) -> None:
        self._compute = compute
        self._name = f"once {compute.__name__}"
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, of: None, kind: type) -> "Once[Found]": ...
    @overload
    def __get__(self, of: object, kind: type) -> Found: ...
    def __get__(self, of: Any, kind: type) -> "Once[Found] | Found":
        """The value; without a lock where it is there already."""
        if of is None:
            return self
        if self._name not in of.__dict__:
            with of.turn:
                if self._name not in of.__dict__:
                    of.__dict__[self._name] = self._compute(of)
        found: Found = of.__dict__[self._name]
        return found


class Edition:
    """One snapshot, seen with one configuration at `now`. May be asked from any thread."""

    def __init__(self, config: Config, now: datetime) -> None:
        """Raises StoreDamagedError where the snapshot cannot be read."""
        self.config, self.now = config, now
        self.terms = terms_of_month.of(config)
        self.store: Store = door.hold(config.store.directory)
        self.turn = threading.RLock()
        self._beside = door.beside(self.store)
        self._beginning = threading.Lock()
        self._ahead: Future[Row] | None = None
        self._months: OrderedDict[str, MonthFigures] = OrderedDict()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    def ask(self, key: Hashable, work: Callable[[Store], Found]) -> Found:
        """The answer to `key`, computed when first asked for: one at a time, since a connection is for one thread."""
        with self.turn:
            if key not in self._answers:
                self._answers[key] = work(self.store)
                while len(self._answers) > MOST_ANSWERS:
                    self._answers.popitem(last=False)
            found: Found = self._answers[key]
            return found

    def month(self, text: str) -> "MonthFigures":
        """The figures of `2026-10`, `current` or `previous`. Raises UsageError for anything else."""
        period = parse_month(text, self.now)
        name = month_name(period)
        with self.turn:
            if name not in self._months:
                self._months[name] = MonthFigures(self, period)
                while len(self._months) > MOST_MONTHS:
                    self._months.popitem(last=False)
            return self._months[name]

    def knows_customer(self, customer: str) -> bool:
        """Whether somebody of this name is configured, or had a project in the running month or the one before."""
        with self.turn:
            months = (self.month(name).month for name in ("current", "previous"))
            return customer in self.customer_names or any(customer in month.segments["customer"] for month in months)

    @property
    def months_asked(self) -> Sequence[str]:
        """The months whose figures somebody asked for, as `2026-10`."""
        with self.turn:
            return tuple(self._months)

    def prepare(self, months: Iterable[str] = ()) -> None:
        """Computes what most pages show, of the running month and of others by name."""
        self.status, self.alerts_by_customer, self.alerts_by_project  # noqa: B018 - asked for, so that they are there
        for name in {month_name(month_of(self.now)), *months}:
            self.month(name).prepare()
        self.quotas_by_customer, self.quotas_by_project  # noqa: B018
        self.alert_sheet.prepare()
        self.quota_sheet.prepare()

    def outlook(self, *, wait_seconds: int = 0) -> Row | None:
        """What `forecast` prints; None while it is computed, in a thread of its own since it takes as long as the rest.

        Raises what went wrong.
        """
        with self._beginning:
            if self._ahead is None:
                self._ahead = _in_background(self._look_ahead, "outlook")
        try:
            return self._ahead.result(timeout=wait_seconds)
        except TimeoutError:
            return None

    @property
    def is_looked_ahead(self) -> bool:
        """Whether anybody asked for the outlook."""
        return self._ahead is not None

    def _look_ahead(self) -> Row:
        running = RatedMonth(store=self._beside, config=self.config, period=month_of(self.now), now=self.now)
        return month_outlook.outlook(running.whole)

    @Once
    def status(self) -> Row:
        """What `status` prints."""
        return state.status(self.store, self.config, self.now)

    @property
    def data_as_of(self) -> str | None:
        """When the last cycle that read anything ended; None before the first."""
        last = self.status["last_cycle"]
        return str(last["ended_at"]) if last else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was polled yet."""
        return self.data_as_of is None

    @Once
    def quotas(self) -> Table:
        """What `quota` prints, sorted by what will be suspended first."""
        rows = quota_status.quota_rows(self.store, self.terms, self.config.quota.thresholds_percent, self.now)
        return sorted(rows, key=quota_status.urgency)

    @Once
    def customer_names(self) -> dict[str, str]:
        """Customer -> name, of those who are configured."""
        return {row.id: row.name for row in self.config.customer_rows}

    @Once
    def quota_sheet(self) -> Sheet:
        """The list of quotas."""
        names = rows.names(self.month("current").report)
        return Sheet(table=tables.QUOTAS, rows=rows.named(rows.quotas(self.quotas), names))

    @Once
    def quotas_by_customer(self) -> Index:
        """Customer -> the quotas of their projects."""
        return grouped(self.quota_sheet.rows, lambda row: row["customer"] or "")

    @Once
    def quotas_by_project(self) -> Index:
        """Project -> its quotas."""
        return grouped(self.quota_sheet.rows, lambda row: row["project_id"] or "")

    @Once
    def alert_sheet(self) -> Sheet:
        """The list of alerts."""
        return Sheet(table=tables.ALERTS, rows=rows.alerts(self.alerts))

    @Once
    def alerts_by_customer(self) -> Index:
        """Customer -> the alerts about their projects and invoices."""
        return grouped(self.alert_sheet.rows, lambda row: row["customer"] or "")

    @Once
    def alerts_by_project(self) -> Index:
        """Project -> its alerts."""
        return grouped(self.alert_sheet.rows, lambda row: row["project_id"] or "")

    @Once
    def alerts(self) -> Table:
        """What `alerts` prints, the latest first."""
        return log(self.store)[::-1]

    @Once
    def attempts(self) -> Table:
        """Every delivery attempt."""
        return alert_log_attempts(self.store)

    @Once
    def cycles(self) -> Table:
        """The last runs of poll, backfill and tick, the latest first."""
        return state.cycles(self.store)

    @Once
    def budget(self) -> Table:
        """How much of the history requests' budget each account used."""
        return state.budget(self.store, self.config, self.now)

    @Once
    def months(self) -> Sequence[str]:
        """The months that anything is known of, the latest first."""
        running = month_of(self.now)
        return [month_name(period) for period in terms_months(self.store, None, running, self.now)][::-1]


class MonthFigures:
    """A month's figures, as `report`, `invoices` and `usage` have them."""

    def __init__(self, edition: Edition, period: Period) -> None:
        self._edition = weakref.ref(edition)  # no circle: an edition ends when the last who asks it is done
        self.period, self.turn = period, edition.turn
        self.name = month_name(period)

    @property
    def edition(self) -> Edition:
        """The edition that it belongs to."""
        found = self._edition()
        assert found is not None, "whoever asks for a month holds its edition"
        return found

    def prepare(self) -> None:
        """Computes what the pages of the month show."""
        self.projects_by_customer, self.projects_by_id, self.documents, self.own_projects  # noqa: B018
        for sheet in (self.customer_sheet, self.project_sheet, self.invoice_sheet):
            sheet.prepare()

    @Once
    def month(self) -> Month:
        """The month as the store holds it."""
        edition = self.edition
        return RatedMonth(store=edition.store, config=edition.config, period=self.period, now=edition.now).whole

    @Once
    def facts(self) -> Facts:
        """All that its report is made from."""
        edition = self.edition
        return gather.facts(edition.store, edition.config, self.period, edition.now, dict(self.invoices))

    @Once
    def report(self) -> dict[str, Any]:
        """The report of the month."""
        return build.build(self.facts)

    @Once
    def invoices(self) -> Row:
        """What `invoices` prints."""
        return month_invoices(self.edition.store, self.edition.config, self.period, self.edition.now).printed()

    @Once
    def projects(self) -> Table:
        """Every project that existed in the month or is listed now."""
        return project_list.rows(self.edition.store, self.report, self.edition.quotas)

    @Once
    def customer_sheet(self) -> Sheet:
        """The list of customers."""
        return Sheet(table=tables.CUSTOMERS, rows=self.report["customers"])

    @Once
    def project_sheet(self) -> Sheet:
        """The list of projects."""
        return Sheet(table=tables.PROJECTS, rows=rows.named(self.projects, rows.names(self.report)))

    @Once
    def projects_by_customer(self) -> Index:
        """Customer -> their projects."""
        return grouped(self.project_sheet.rows, lambda row: row["customer"] or "")

    @Once
    def projects_by_id(self) -> Index:
        """Project -> its rows: several where it changed hands or moved to another organization."""
        return grouped(self.project_sheet.rows, lambda row: row["project_id"] or "")

    @Once
    def invoice_sheet(self) -> Sheet:
        """The list of invoices."""
        return Sheet(table=tables.INVOICES, rows=rows.invoices(self.facts.invoices))

    @Once
    def parked(self) -> Table:
        """Who has no invoice until somebody looks: {customer, reason}."""
        parked: Table = self.invoices["parked"]
        return parked

    @Once
    def documents(self) -> Index:
        """Customer -> their invoices and credit notes, whole."""
        return grouped(self.facts.invoices, lambda row: canonical(str(row["customer"]["id"])))

    @Once
    def own_projects(self) -> dict[str, list[str]]:
        """Customer -> the projects that were theirs alone: what another paid for in the month is not theirs to see."""
        segments = self.month.segments.select("customer", "project_id").unique()
        alone = segments.filter(~segments["project_id"].is_duplicated()).sort("project_id")
        found: dict[str, list[str]] = {}
        for customer, project in alone.iter_rows():
            found.setdefault(customer, []).append(project)
        return found

    @property
    def is_running(self) -> bool:
        """Whether the month has begun and is not over."""
        return self.period.contains(self.edition.now)

    @property
    def as_of(self) -> str:
        """The moment that its figures are of."""
        return rfc3339(self.edition.now)


Identity = tuple[object, ...]


class Editions:
    """The edition of the snapshot as it stands; while the next one is prepared, the one before it."""

    def __init__(self, config_of: Callable[[], Config], clock: Callable[[], datetime]) -> None:
        self._config_of, self._clock = config_of, clock
        self._turn = threading.Lock()
        self._shown: tuple[Identity, Edition] | None = None
        self._preparing: threading.Thread | None = None
        self.trouble: str | None = None
        """Why the newest snapshot is not the one that is shown."""

    def current(self) -> Edition:
        """Raises StoreDamagedError; StoreBusyError where the first snapshot is still being made."""
        config, now = self._config_of(), self._clock()
        identity = self._identity(config, now)
        if self._shown is None or (self._shown[1].is_empty and identity != self._shown[0]):
            with self._turn:
                if self._shown is None or identity != self._shown[0]:
                    self._take(config, now, identity)
        assert self._shown is not None
        known, edition = self._shown
        if identity != known:
            self._prepare(config, now, identity)
        return edition

    def renew(self) -> None:
        """Takes the snapshot as it stands at once: after a change that its maker wants to see."""
        config, now = self._config_of(), self._clock()
        with self._turn:
            self._take(config, now, self._identity(config, now))

    def _take(self, config: Config, now: datetime, identity: Identity) -> None:
        if identity[0] is None:
            lock.refuse_if_held(config.store.directory)
        self._shown, self.trouble = (identity, Edition(config, now)), None

    def _prepare(self, config: Config, now: datetime, identity: Identity) -> None:
        """One thread makes the next edition. Where it cannot be made, the one before stays and `trouble` says why."""

        def work() -> None:
            assert self._shown is not None, "the first edition is taken, not prepared"
            # Only what it was asked for, not the edition itself, which ends when the next one takes its place.
            months, is_looked_ahead = self._shown[1].months_asked, self._shown[1].is_looked_ahead
            try:
                edition = Edition(config, now)
                edition.prepare(months)
            except Exception as error:  # whatever it is, the edition that is shown is still right for its moment
                self.trouble = error.args[0] if isinstance(error, MeteringError) else f"{type(error).__name__}: {error}"
            else:
                self._shown, self.trouble = (identity, edition), None
                if is_looked_ahead:
                    edition.outlook()

        def undisturbed() -> None:
            with _uncollected():
                work()

        with self._turn:
            if self._preparing is None or not self._preparing.is_alive():
                self._preparing = threading.Thread(target=undisturbed, daemon=True, name="edition")
                self._preparing.start()

    @staticmethod
    def _identity(config: Config, now: datetime) -> Identity:
        """What makes it another edition: the file, the configuration, and the hour, by which coverage is counted."""
        try:
            found = (config.store.directory / door.SNAPSHOT).stat()
        except FileNotFoundError:
            file = None
        else:
            file = (found.st_ino, found.st_mtime_ns, found.st_size)
        return file, id(config), f"{now:%Y-%m-%dT%H}"
