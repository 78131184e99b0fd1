"""The lists of the dashboard: columns, searched columns, and columns with a filter.

Data, not code. The names are those of the commands' JSON.
"""

from dataclasses import replace

from metering.rendering.columns import parsed
from metering.reporting import columns
from metering.web.listing import Table

CUSTOMERS = Table(
    name="customers",
    title="Customers",
    columns=columns.on_web("customers"),
    searched=("customer", "customer_name", "plans", "invoices"),
    choices=("plans", "status", "currency"),
    empty="No customer has a line in this month.",
)

PROJECTS = Table(
    name="projects",
    title="Projects",
    columns=columns.on_web("projects"),
    searched=("project_id", "project_name", "organization", "customer", "region"),
    choices=("organization", "plans", "quota_level"),
    empty="No project is known yet.",
)

QUOTAS = Table(
    name="quotas",
    title="Quotas",
    columns=columns.on_web("quotas"),
    searched=("project_id", "project_name", "customer", "plan"),
    choices=("level", "quota", "plan"),
    empty="No project has a quota with a limit.",
)

INVOICES = Table(
    name="invoices",
    title="Invoices",
    columns=columns.on_web("invoices"),
    searched=("number", "customer", "customer_name"),
    choices=("status", "currency"),
    empty="No customer has a line in this month.",
)

LINES = Table(
    name="lines",
    title="Lines",
    columns=columns.on_web("lines"),
    searched=("key", "description"),
    choices=("kind", "meter"),
    empty="No lines.",
)

ALERTS = Table(
    name="alerts",
    title="Alerts",
    columns=columns.on_web("alerts"),
    searched=("alert_id", "type", "project_id", "project_name", "customer", "summary"),
    choices=("type", "delivery", "quota"),
    empty="No alert was ever recorded.",
)

CYCLES = Table(
    name="cycles",
    title="Cycles",
    columns=parsed("""
        started_at  moment  Began
        ended_at    moment  Ended
        command     text
        outcome     status
        requests    number
        pages       number
        changes     number
        faults      list
    """),
    searched=("faults", "command"),
    choices=("command", "outcome"),
    empty="Nothing was polled yet.",
)

HISTORY = Table(
    name="history",
    title="History",
    columns=parsed("""
        at    moment  When
        who   id
        from  text
        kind  words
        what  text
       -seq   number  Record
    """),
    searched=("what", "who", "from"),
    choices=("kind", "who"),
    empty="Nobody has done anything yet.",
)

OBSERVATIONS = Table(
    name="observations",
    title="Observations",
    columns=parsed("""
        timeframe_start  moment   From
       -timeframe_end    moment   To
        grain            text
       -project_id       project  Project
       -organization     id
        metric           words
        value            number
        revision         number   Values seen
        seq              page     Page
        received_at      moment   Received
       -request_id       id       Request
       -sha256           id       SHA-256
    """),
    searched=("timeframe_start", "metric", "project_id", "request_id", "sha256"),
    choices=("metric", "grain", "project_id"),
    empty="No observation is behind this line.",
)

ATTEMPTS = Table(
    name="attempts",
    title="Attempts",
    columns=parsed("""
        attempted_at     moment  When
        endpoint         id
        attempt          number  No.
        outcome          status
        status           number  Answer
        error            text
        next_attempt_at  moment  Next
    """),
    empty="Nothing was sent yet.",
)

BACKTEST = Table(
    name="backtest",
    title="Customers under the other plans",
    columns=parsed("""
        customer       customer
       -name           text
        before         amount
        after          amount
        difference     change
       -currency       text
        cost           amount    Neon cost
        margin_before  amount
        margin_after   amount
        result         status
    """),
    searched=("customer", "name"),
    choices=("result", "currency"),
    empty="No customer had a line in these months.",
)


def part(table: Table, name: str, title: str, names: str) -> Table:
    """A short list inside a page, with some columns of a longer one."""
    found = {column.name: replace(column, shown=True) for column in table.columns}
    return Table(name=name, title=title, columns=tuple(found[name] for name in names.split()))


URGENT = part(
    QUOTAS,
    "urgent",
    "What will be suspended first",
    "project_id customer quota percent level reaches_100_at period_end",
)
QUOTAS_OF = part(QUOTAS, "own_quotas", "Quotas", "quota project_id percent used limit level reaches_100_at period_end")
LATEST = part(
    ALERTS, "latest", "Latest alerts", "recorded_at alert_id project_id quota threshold_percent percent delivery"
)
LATEST_OF_ALL = part(
    ALERTS,
    "latest",
    "Latest alerts",
    "recorded_at alert_id project_id customer quota threshold_percent percent delivery",
)
PROJECTS_OF = part(PROJECTS, "own_projects", "Projects", "project_id plans created_at amount neon_cost quota_percent")
INVOICES_OF = part(INVOICES, "own_invoices", "Invoices", "number status subtotal tax total issued_at")
LINES_OF = part(LINES, "own_lines", "Invoice lines", "description quantity unit unit_price amount")
OWN_LINES = part(LINES, "lines", "Invoice lines", "description project_id quantity unit unit_price amount")

FRESHNESS = Table(
    name="freshness",
    title="Freshness",
    columns=parsed("""
        organization           id
        projects               number
        certified_until        moment  Known until
        inventory_read_at      moment  Inventory read
        worst_project_read_at  moment  Oldest reading
        projects_never_read    number  Never read
    """),
)
BUDGET = Table(
    name="budget",
    title="Requests to Neon's history",
    columns=parsed("""
        account   text
        requests  number
        most      number  Allowed
        percent   quota   Used up
    """),
)
MONTHS = Table(
    name="months",
    title="Months",
    columns=parsed("""
        month                  text
        state                  status
        closable_from          moment  Closable from
        closes_by_itself_from  moment  Closes by itself
        by_hand_because        text    By hand because
        closed_at              moment  Closed
        closed_by              text    By
    """),
)
GAPS = Table(
    name="gaps",
    title="Gaps",
    columns=parsed("""
        organization  id
        start         moment  From
        end           moment  To
        reason        text
    """),
)
UNREADABLE = Table(
    name="unreadable",
    title="Unreadable",
    columns=parsed("""
        organization  id
        project_id    project  Project
        endpoint      words    List
        reason        text
        since         moment
    """),
)
OUTBOX = Table(
    name="outbox",
    title="Outbox",
    columns=parsed("""
        endpoint       id
        pending        number
        oldest_due_at  moment  Oldest is due
        most_attempts  number
    """),
)
FAILING = Table(
    name="failing",
    title="Failing endpoints",
    columns=parsed("""
        endpoint     id
        state        status
        since        moment
        undelivered  number
        error        text
    """),
)
ALARMS = Table(
    name="alarms",
    title="Alarms",
    columns=parsed("""
        alarm_id         id      Alarm
        kind             words
        summary          text
        raised_at        moment  Raised
        acknowledged_at  moment  Acknowledged
        reason           text
    """),
)
REVISED = Table(
    name="revised",
    title="Revised to zero",
    columns=parsed("""
        project_id       project  Project
        timeframe_start  moment   From
        metric           words
        value            number
    """),
)
