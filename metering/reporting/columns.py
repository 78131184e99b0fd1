"""The catalogue of columns: which columns each table has, what kind each is, and where it is shown.

Data. Files of the report (CSV, Parquet, workbook), its page and its paper, the dashboard's lists and the JSON API's
description derive from it; names are those of the commands' JSON. Must not know how a cell of a kind looks.
"""

from metering.rendering.columns import Column, Listed, Printed, parsed, printed
from metering.rendering.tables import NUMBER, TEXT

LISTED = {
    "customers": Listed(
        columns=parsed("""
            customer           customer
           -customer_name      text      Name
            plans              list
            projects           number
            subtotal           amount    Before tax
           -previous_subtotal  amount    Month before
            change             change
           -change_percent     percent   Change %
           -tax                amount
            total              amount
           -currency           text
            neon_cost          amount
            margin             amount
           -margin_percent     percent   Margin %
            status             status
           -invoices           list
           ~previous_neon_cost number
           ~previous_margin number
        """),
        files=(
            "customer customer_name currency plans projects invoices status subtotal tax total "
            "previous_subtotal change change_percent neon_cost margin margin_percent previous_neon_cost "
            "previous_margin"
        ),
        api="customer customer_name currency subtotal total neon_cost?",
    ),
    "projects": Listed(
        columns=parsed("""
            project_id       project   Project
           -project_name     text      Name
            organization     id
           -region           text
            customer         customer
            plans            list
           -created_at       day       Created
           -deleted_at       day       Deleted
           -is_listed        flag      Listed
           -last_active_at   moment    Last active
           -history_read_at  moment    History read
            amount           amount    Before tax
           -currency         text
            neon_cost        amount
            margin           amount
           -margin_percent   percent   Margin %
            quota_percent    quota     Fullest quota
           -quota_level      status    Level
        """),
        files="project_id project_name customer plans currency amount neon_cost margin margin_percent",
        api="project_id organization customer? plans is_listed",
    ),
    "quotas": Listed(
        columns=parsed("""
            project_id             project   Project
           -project_name           text      Name
            customer               customer
           -plan                   text
            quota                  words
            percent                quota     Used up
           -used                   number
           -limit                  number
           -unit                   text
           -limit_source           text
            level                  status
           -threshold_percent      number
            reaches_100_at         moment    Full at
            percent_at_period_end  percent   At period end
            period_end             day       Resets
           -period_start           moment
           -source                 text
           -observed_at            moment    Observed
           -partial                text
        """),
        files=(
            "project_id project_name customer plan quota used limit percent threshold_percent level source observed_at"
        ),
    ),
    "invoices": Listed(
        columns=parsed("""
            number         invoice
           -kind           text
            status         status
            customer       customer
           -customer_name  text      Name
            lines          number
            subtotal       amount    Before tax
            tax            amount
            total          amount
           -currency       text
            issued_at      day       Issued
            due_at         day       Due
           ~start moment
           ~end moment
           ~as_of moment
           ~tax_inclusive text
        """),
        files=(
            "number kind status customer customer_name currency start end issued_at due_at subtotal tax total "
            "as_of tax_inclusive"
        ),
    ),
    "lines": Listed(
        columns=parsed("""
           -line         number    No.
           -key          text
           -kind         words
            description  line
            project_id   project   Project
            plan         text
           -meter        text
           -from         moment
           -to           moment
            quantity     quantity
            unit         text
            unit_price   quantity
            amount       amount
           -currency     text
           ~number text
           ~status text
           ~customer text
           ~tax_rate_percent number
           ~tax_name text
           ~tax_category text
        """),
        files=(
            "number status customer key kind project_id plan meter description from to quantity unit "
            "unit_price amount currency tax_rate_percent tax_name tax_category"
        ),
    ),
    "alerts": Listed(
        columns=parsed("""
            recorded_at        moment    Recorded
            alert_id           alert     Alert
           -type               text
            project_id         project   Project
           -project_name       text      Name
            customer           customer
            quota              words
            threshold_percent  percent   Threshold
            percent            percent   Used
           -used               number
           -limit              number
           -unit               text
           -status             status
           -reason             text
            delivery           status
           -observed_at        moment    Observed
           -summary            text
        """),
        files=("alert_id type project_id project_name customer quota threshold_percent percent observed_at status"),
    ),
}

_MONEY = "subtotal:n tax:n total:n"
_COMPARED = "previous_subtotal:n change:n change_percent:n"
_MARGIN = "neon_cost:n margin:n margin_percent:n"
_BESIDE = f"{_COMPARED} {_MARGIN} previous_neon_cost:n previous_margin:n"
_WORTH = "meter quantity:n unit worth:n currency priced_as"
_FILES = {
    "totals": f"currency invoices:n customers:n {_MONEY} {_COMPARED}",
    "taxes": "currency name rate_percent:n category base:n amount:n",
    "billed": "currency kind meter lines:n quantity:n unit amount:n share_percent:n",
    "plans": f"currency plan customers:n projects:n base_fees:n usage:n amount:n share_percent:n {_BESIDE}",
    "customers": "",
    "meters": "meter unit projects:n quantity:n previous_quantity:n change_percent:n",
    "days": "day meter unit quantity:n has_gap",
    "costs": "meter unit quantity:n amount:n currency share_percent:n",
    "projects": "",
    "usage": "organization project_id project_name customer plan metric value:n meter quantity:n unit",
    "quotas": "",
    "alerts": "",
    "gaps": "organization start end hours:n reason",
    "unassigned": f"project_id metric value:n {_WORTH}",
    "unpriced": f"project_id metric value:n reason {_WORTH}",
    "changes": "change customer customer_name project_id project_name was now amount:n currency",
    "adjustments": (
        "number customer customer_name project_id plan meter description from to quantity:n unit amount:n currency"
    ),
    "organizations": (
        "organization sponsored projects:n project_limit:n limit_percent:n neon_cost:n "
        "inventory_read_at history_read_at certified_until"
    ),
    "reconciliation": "organization meter computed:n invoiced:n difference:n currency",
    "idle": "project_id project_name customer plan last_active_at idle_days:n neon_cost:n of_branches:n",
    "branches": ("project_id project_name customer plan is_idle storage_gb_month:n extra_branch_month:n neon_cost:n"),
    "invoices": "",
    "lines": "",
}
"""Table -> its columns in files, in order; `:n` marks numbers. Those of listed tables stand above."""


def _file_kinds(table: str) -> dict[str, str]:
    if table in LISTED:
        # A share of a quota is a number in files; the dashboard draws it.
        columns = (LISTED[table].column(name) for name in LISTED[table].files.split())
        return {column.name: NUMBER if column.is_number or column.kind == "quota" else TEXT for column in columns}
    marked = (column.partition(":") for column in _FILES[table].split())
    return {name: NUMBER if mark else TEXT for name, _, mark in marked}


COLUMNS = {table: _file_kinds(table) for table in _FILES}
"""Table -> column -> `text` or `number` in files; every table is a file, whether it has rows or not."""


def on_web(table: str) -> tuple[Column, ...]:
    """The columns of the dashboard's list."""
    return tuple(column for column in LISTED[table].columns if column.is_on_web)


PRINTED = {
    "billed": "meter/item:Item +quantity/short =quantity/tenth =unit/blank amount/amount .share_percent/percent:Share",
    "plans": (
        "plan/plan .customers/count .projects/count amount/shared +change/change_was =change/compared "
        "neon_cost/cost_was margin/cost_was"
    ),
    "outlook": (
        "what/text currency/text so_far/amount expected/amount low/amount:Like_the_quietest_week high/amount:Busiest"
    ),
    "movers": "customer/customer subtotal/money:Now change/moved +.change/bar:_",
    "customers": (
        "=customer/customer +customer_name/name:Customer +.customer/id:Id plans/ids:Plan +.projects/count "
        "subtotal/amount:Amount +change/change =change/compared +change_percent/growth:Percent "
        "+neon_cost/cost =neon_cost/cost_was +margin/cost =margin/cost_was invoices/invoices:Invoice"
    ),
    "changes": (
        "change/sentence customer/customer project_id/project was/plain now/plain amount/owed:Invoiced_before_tax"
    ),
    "adjustments": (
        "customer/customer description/described:What from/span:Month quantity/measured amount/money "
        "+number/numbered:Invoice"
    ),
    "meters": (
        "meter/sentence quantity/thousandth unit/text previous_quantity/thousandth:Month_before "
        "change_percent/signed:Change projects/count"
    ),
    "costs": "meter/sentence quantity/thousandth unit/text amount/cost:Cost_(USD) share_percent/percent:Share",
    "projects": "project_id/project customer/payer neon_cost/cost:Neon_cost_(USD) amount/billed:Billed margin/cost",
    "idle": (
        "project_id/project customer/payer last_active_at/since:Last_active neon_cost/cost:Neon_cost_(USD) "
        "of_branches/cost:of_which_branches"
    ),
    "branches": (
        "project_id/project customer/payer is_idle/flag:Idle neon_cost/cost:Neon_cost_(USD) "
        "extra_branch_month/thousandth:Extra_branch-months"
    ),
    "organizations": (
        "organization/name projects/count project_limit/limit:Sponsored_limit neon_cost/cost:Neon_cost_(USD) "
        "inventory_read_at/moment:Inventory_read history_read_at/moment:History_read certified_until/moment:Known_until"
    ),
    "reconciliation": "what/text amount/amount",
    "quotas": ("project_id/project +customer/id quota/words used/number limit/number percent/filled level/level"),
    "alerts": (
        "observed_at/moment:Observed project_id/project +customer/id quota/words "
        "threshold_percent/percent:Threshold percent/percent status/words:Delivery"
    ),
    "unassigned": "project_id/text metric/words value/number worth/worth",
    "unpriced": "project_id/text metric/words value/number worth/worth reason/words:Why",
}
"""Table of the report's page and paper -> its columns in order, as `rendering.columns.printed` reads them."""


def on_print(table: str, medium: str) -> tuple[Printed, ...]:
    """The columns of a printed table; `medium` is `page` or `paper`."""
    return tuple(column for column in printed(PRINTED[table]) if medium in column.media)


def promised(table: str) -> dict[Column, bool]:
    """The columns that the API's description promises -> whether a cell may be null."""
    return {LISTED[table].column(name.rstrip("?")): name.endswith("?") for name in LISTED[table].api.split()}
