"""Which columns each list of the dashboard has, which of them a search looks into, and which can be chosen by value.

Data, not code. The names are those of the commands' JSON.
"""

from dataclasses import replace

from metering.web.listing import Column, Table

_MONEY = (
    Column(name="currency", shown=False),
    Column(name="neon_cost", title="Neon cost", kind="amount"),
    Column(name="margin", kind="amount"),
    Column(name="margin_percent", title="Margin %", kind="percent", shown=False),
)

CUSTOMERS = Table(
    name="customers",
    title="Customers",
    columns=(
        Column(name="customer", kind="customer"),
        Column(name="customer_name", title="Name", shown=False),
        Column(name="plans", kind="list"),
        Column(name="projects", kind="number"),
        Column(name="subtotal", title="Before tax", kind="amount"),
        Column(name="previous_subtotal", title="Month before", kind="amount", shown=False),
        Column(name="change", title="Change", kind="change"),
        Column(name="change_percent", title="Change %", kind="percent", shown=False),
        Column(name="tax", kind="amount", shown=False),
        Column(name="total", kind="amount"),
        *_MONEY,
        Column(name="status", kind="status"),
        Column(name="invoices", kind="list", shown=False),
    ),
    searched=("customer", "customer_name", "plans", "invoices"),
    choices=("plans", "status", "currency"),
    empty="No customer has a line in this month.",
)

PROJECTS = Table(
    name="projects",
    title="Projects",
    columns=(
        Column(name="project_id", title="Project", kind="project"),
        Column(name="project_name", title="Name", shown=False),
        Column(name="organization", kind="id"),
        Column(name="region", shown=False),
        Column(name="customer", kind="customer"),
        Column(name="plans", kind="list"),
        Column(name="created_at", title="Created", kind="day", shown=False),
        Column(name="deleted_at", title="Deleted", kind="day", shown=False),
        Column(name="is_listed", title="Listed", shown=False),
        Column(name="last_active_at", title="Last active", kind="moment", shown=False),
        Column(name="history_read_at", title="History read", kind="moment", shown=False),
        Column(name="amount", title="Before tax", kind="amount"),
        *_MONEY,
        Column(name="quota_percent", title="Fullest quota", kind="quota"),
        Column(name="quota_level", title="Level", kind="status", shown=False),
    ),
    searched=("project_id", "project_name", "organization", "customer", "region"),
    choices=("organization", "plans", "quota_level"),
    empty="No project is known yet.",
)

QUOTAS = Table(
    name="quotas",
    title="Quotas",
    columns=(
        Column(name="project_id", title="Project", kind="project"),
        Column(name="project_name", title="Name", shown=False),
        Column(name="customer", kind="customer"),
        Column(name="plan"),
        Column(name="quota", kind="words"),
        Column(name="percent", title="Used up", kind="quota"),
        Column(name="used", kind="number", shown=False),
        Column(name="limit", kind="number", shown=False),
        Column(name="unit", shown=False),
        Column(name="limit_source", shown=False),
        Column(name="level", kind="status"),
        Column(name="threshold_percent", kind="number", shown=False),
        Column(name="reaches_100_at", title="Full at", kind="moment"),
        Column(name="percent_at_period_end", title="At period end", kind="percent"),
        Column(name="period_end", title="Resets", kind="day"),
        Column(name="period_start", kind="moment", shown=False),
        Column(name="source", shown=False),
        Column(name="observed_at", title="Observed", kind="moment", shown=False),
        Column(name="partial", shown=False),
    ),
    searched=("project_id", "project_name", "customer", "plan"),
    choices=("level", "quota", "plan"),
    empty="No project has a quota with a limit.",
)

INVOICES = Table(
    name="invoices",
    title="Invoices",
    columns=(
        Column(name="number", kind="invoice"),
        Column(name="kind", shown=False),
        Column(name="status", kind="status"),
        Column(name="customer", kind="customer"),
        Column(name="customer_name", title="Name", shown=False),
        Column(name="lines", kind="number"),
        Column(name="subtotal", title="Before tax", kind="amount"),
        Column(name="tax", kind="amount"),
        Column(name="total", kind="amount"),
        Column(name="currency", shown=False),
        Column(name="issued_at", title="Issued", kind="day"),
        Column(name="due_at", title="Due", kind="day"),
    ),
    searched=("number", "customer", "customer_name"),
    choices=("status", "currency"),
    empty="No customer has a line in this month.",
)

LINES = Table(
    name="lines",
    title="Lines",
    columns=(
        Column(name="line", title="No.", kind="number", shown=False),
        Column(name="key", shown=False),
        Column(name="kind", kind="words", shown=False),
        Column(name="description", kind="line"),
        Column(name="project_id", title="Project", kind="project"),
        Column(name="plan"),
        Column(name="meter", shown=False),
        Column(name="from", kind="moment", shown=False),
        Column(name="to", kind="moment", shown=False),
        Column(name="quantity", kind="quantity"),
        Column(name="unit"),
        Column(name="unit_price", kind="quantity"),
        Column(name="amount", kind="amount"),
        Column(name="currency", shown=False),
    ),
    searched=("key", "description"),
    choices=("kind", "meter"),
    empty="No lines.",
)

ALERTS = Table(
    name="alerts",
    title="Alerts",
    columns=(
        Column(name="recorded_at", title="Recorded", kind="moment"),
        Column(name="alert_id", title="Alert", kind="alert"),
        Column(name="type", shown=False),
        Column(name="project_id", title="Project", kind="project"),
        Column(name="project_name", title="Name", shown=False),
        Column(name="customer", kind="customer"),
        Column(name="quota", kind="words"),
        Column(name="threshold_percent", title="Threshold %", kind="number"),
        Column(name="percent", title="Used %", kind="percent"),
        Column(name="used", kind="number", shown=False),
        Column(name="limit", kind="number", shown=False),
        Column(name="unit", shown=False),
        Column(name="status", kind="status", shown=False),
        Column(name="reason", shown=False),
        Column(name="delivery", title="Delivery", kind="status"),
        Column(name="observed_at", title="Observed", kind="moment", shown=False),
        Column(name="summary", shown=False),
    ),
    searched=("alert_id", "type", "project_id", "project_name", "customer", "summary"),
    choices=("type", "delivery", "quota"),
    empty="No alert was ever recorded.",
)

CYCLES = Table(
    name="cycles",
    title="Cycles",
    columns=(
        Column(name="started_at", title="Began", kind="moment"),
        Column(name="ended_at", title="Ended", kind="moment"),
        Column(name="command"),
        Column(name="outcome", kind="status"),
        Column(name="requests", kind="number"),
        Column(name="pages", kind="number"),
        Column(name="changes", kind="number"),
        Column(name="faults", kind="list"),
    ),
    searched=("faults", "command"),
    choices=("command", "outcome"),
    empty="Nothing was polled yet.",
)

OBSERVATIONS = Table(
    name="observations",
    title="Observations",
    columns=(
        Column(name="timeframe_start", title="From", kind="moment"),
        Column(name="timeframe_end", title="To", kind="moment", shown=False),
        Column(name="grain"),
        Column(name="project_id", title="Project", kind="project", shown=False),
        Column(name="organization", kind="id", shown=False),
        Column(name="metric", kind="words"),
        Column(name="value", kind="number"),
        Column(name="revision", title="Values seen", kind="number"),
        Column(name="seq", title="Page", kind="page"),
        Column(name="received_at", title="Received", kind="moment"),
        Column(name="request_id", title="Request", kind="id", shown=False),
        Column(name="sha256", title="SHA-256", kind="id", shown=False),
    ),
    searched=("timeframe_start", "metric", "project_id", "request_id", "sha256"),
    choices=("metric", "grain", "project_id"),
    empty="No observation is behind this line.",
)

ATTEMPTS = Table(
    name="attempts",
    title="Attempts",
    columns=(
        Column(name="attempted_at", title="When", kind="moment"),
        Column(name="endpoint", kind="id"),
        Column(name="attempt", title="No.", kind="number"),
        Column(name="outcome", kind="status"),
        Column(name="status", title="Answer", kind="number"),
        Column(name="error", kind="text"),
        Column(name="next_attempt_at", title="Next", kind="moment"),
    ),
    empty="Nothing was sent yet.",
)

BACKTEST = Table(
    name="backtest",
    title="Customers under the other plans",
    columns=(
        Column(name="customer", kind="customer"),
        Column(name="name", title="Name", shown=False),
        Column(name="before", kind="amount"),
        Column(name="after", kind="amount"),
        Column(name="difference", kind="change"),
        Column(name="currency", shown=False),
        Column(name="cost", title="Neon cost", kind="amount"),
        Column(name="margin_before", kind="amount"),
        Column(name="margin_after", kind="amount"),
        Column(name="result", kind="status"),
    ),
    searched=("customer", "name"),
    choices=("result", "currency"),
    empty="No customer had a line in these months.",
)


def part(table: Table, name: str, title: str, *columns: str) -> Table:
    """A short list inside a page: some columns of a longer one, all of them shown."""
    found = [table.column(column) for column in columns]
    return Table(name=name, title=title, columns=tuple(replace(column, shown=True) for column in found if column))


URGENT = part(
    QUOTAS,
    "urgent",
    "What will be suspended first",
    *("project_id", "customer", "quota", "percent", "level", "reaches_100_at", "period_end"),
)
QUOTAS_OF = part(
    QUOTAS,
    "own_quotas",
    "Quotas",
    *("quota", "project_id", "percent", "used", "limit", "level", "reaches_100_at", "period_end"),
)
LATEST = part(
    ALERTS,
    "latest",
    "Latest alerts",
    *("recorded_at", "alert_id", "project_id", "quota", "threshold_percent", "percent", "delivery"),
)
LATEST_OF_ALL = part(
    ALERTS,
    "latest",
    "Latest alerts",
    *("recorded_at", "alert_id", "project_id", "customer", "quota", "threshold_percent", "percent", "delivery"),
)
PROJECTS_OF = part(
    PROJECTS, "own_projects", "Projects", "project_id", "plans", "created_at", "amount", "neon_cost", "quota_percent"
)
INVOICES_OF = part(INVOICES, "own_invoices", "Invoices", "number", "status", "subtotal", "tax", "total", "issued_at")
LINES_OF = part(LINES, "own_lines", "Invoice lines", "description", "quantity", "unit", "unit_price", "amount")

OWN_LINES = part(
    LINES, "lines", "Invoice lines", "description", "project_id", "quantity", "unit", "unit_price", "amount"
)

FRESHNESS = Table(
    name="freshness",
    title="Freshness",
    columns=(
        Column(name="organization", kind="id"),
        Column(name="projects", kind="number"),
        Column(name="certified_until", title="Known until", kind="moment"),
        Column(name="inventory_read_at", title="Inventory read", kind="moment"),
        Column(name="worst_project_read_at", title="Oldest reading", kind="moment"),
        Column(name="projects_never_read", title="Never read", kind="number"),
    ),
)
BUDGET = Table(
    name="budget",
    title="Requests to Neon's history",
    columns=(
        Column(name="account"),
        Column(name="requests", kind="number"),
        Column(name="most", title="Allowed", kind="number"),
        Column(name="percent", title="Used up", kind="quota"),
    ),
)
GAPS = Table(
    name="gaps",
    title="Gaps",
    columns=(
        Column(name="organization", kind="id"),
        Column(name="start", title="From", kind="moment"),
        Column(name="end", title="To", kind="moment"),
        Column(name="reason"),
    ),
)
OUTBOX = Table(
    name="outbox",
    title="Outbox",
    columns=(
        Column(name="endpoint", kind="id"),
        Column(name="pending", kind="number"),
        Column(name="oldest_due_at", title="Oldest is due", kind="moment"),
        Column(name="most_attempts", title="Most attempts", kind="number"),
    ),
)
ALARMS = Table(
    name="alarms",
    title="Alarms",
    columns=(
        Column(name="alarm_id", title="Alarm", kind="id"),
        Column(name="kind", kind="words"),
        Column(name="summary"),
        Column(name="raised_at", title="Raised", kind="moment"),
        Column(name="acknowledged_at", title="Acknowledged", kind="moment"),
        Column(name="reason"),
    ),
)
REVISED = Table(
    name="revised",
    title="Revised to zero",
    columns=(
        Column(name="project_id", title="Project", kind="project"),
        Column(name="timeframe_start", title="From", kind="moment"),
        Column(name="metric", kind="words"),
        Column(name="value", kind="number"),
    ),
)
