"""Ids are compared after Unicode NFC and without surrounding blanks, whatever their source."""

from datetime import UTC, datetime

import duckdb
import pytest

from metering.config import read as read_config
from metering.core.errors import ConfigError
from metering.core.ids import Neighbours, canonical
from metering.core.secrets import Secret
from metering.provisioning.subscription_file import Choice, switched
from metering.rating import segments as ratecard
from metering.store import migrations
from metering.web import links, tables
from metering.web.listing import Sheet, listing
from tests.support.card import PATTERN, existence, organization, plan, segments

COMPOSED, DECOMPOSED = "M\u00fcller", "Mu\u0308ller"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (DECOMPOSED, COMPOSED),
        (COMPOSED, COMPOSED),
        (f"\u00a0{DECOMPOSED} \t", COMPOSED),
        ("\ufeff\u200bacme\u2060", "acme"),
        ("a  b", "a  b"),
        ("Acme", "Acme"),
        ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("", ""),
    ],
)
def test_an_id_is_composed_and_has_no_blanks_around_it(written, read):
    assert canonical(written) == read
    assert canonical(read) == read


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("Acme", {"acme", "acne"}, "acme"),
        ("Muller", {COMPOSED, "miller"}, COMPOSED),
        ("acme-ltd", {"acme_ltd", "acme"}, "acme_ltd"),
        ("ａｃｍｅ", {"acme"}, "acme"),
        ("acmee", {"acme", "zeta"}, "acme"),
        ("nobody", {"acme", "zeta"}, None),
        ("acme", {"acme"}, None),
    ],
)
def test_the_nearest_id_differs_by_case_or_form_first_and_by_letters_then(name, known, found):
    assert Neighbours(known).nearest(name) == found


def test_case_and_form_are_told_from_other_letters():
    known = Neighbours({"acme", "acme ltd", "-"})
    assert (known.by_form("Acme"), known.by_form("Acme-Ltd")) == ("acme", "acme ltd")
    assert (known.by_form("acme"), known.by_form("acmee"), known.by_form("+")) == (None, None, None)


CONFIG = """
[customers]
file = "customers.csv"
subscriptions = "subscriptions.csv"
project_name_pattern = '(?P<customer>[^-]+)-(?P<plan>[^-]+)-{mark}\\d+'
[[organizations]]
id = "org-1"
api_key_env = "KEY"
default_plan = "{decomposed}"
[[plans]]
id = "{composed}"
currency = "USD"
[[plans]]
id = "small"
extends = "{decomposed}"
[[discounts]]
customer = " {decomposed}"
percent = "10"
"""


def read(directory, customers: str, subscriptions: str = "", text: str = CONFIG):
    names = {"{composed}": COMPOSED, "{decomposed}": DECOMPOSED, "{mark}": DECOMPOSED}
    for name, value in names.items():
        text = text.replace(name, value)
    (directory / "config.toml").write_text(text)
    (directory / "customers.csv").write_text(f"customer,tax_rate_percent\n{customers}")
    (directory / "subscriptions.csv").write_text(f"project_id,customer,plan\n{subscriptions}")
    return read_config(directory / "config.toml", environ={})


def test_all_of_the_configuration_agrees_about_an_id_however_it_is_written(tmp_path):
    found = read(tmp_path, f"{COMPOSED},21\n", f"p-1,{DECOMPOSED},{DECOMPOSED}\n")
    assert [row.id for row in found.customer_rows] == [COMPOSED]
    assert [(row.customer, row.plan) for row in found.subscription_rows] == [(COMPOSED, COMPOSED)]
    assert [row.customer for row in found.discounts] == [COMPOSED]
    assert [(row.id, row.currency) for row in found.plans] == [(COMPOSED, "USD"), ("small", "USD")]
    assert found.organizations[0].default_plan == COMPOSED
    assert found.customers.project_name_pattern is not None and COMPOSED in found.customers.project_name_pattern


def test_ids_in_decomposed_letters_are_noted_where_they_stand(tmp_path):
    found = read(tmp_path, f"{COMPOSED},21\n", f"p-1,{DECOMPOSED},{COMPOSED}\n")
    assert [str(note) for note in found.respelled] == [
        f"{where}: '{written}' is written in decomposed letters; it is read as '{COMPOSED}', the composed form"
        for where, written in (
            ("organizations[0].default_plan", DECOMPOSED),
            ("plans[1].extends", DECOMPOSED),
            ("discounts[0].customer", f" {DECOMPOSED}"),
            ("subscriptions.csv row 1 (line 2), customer", DECOMPOSED),
        )
    ]


def test_two_rows_that_become_one_id_are_a_fault_that_names_both_lines(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{COMPOSED},21\nacme,21\n{DECOMPOSED},21\n")
    (fault,) = caught.value.faults
    assert (fault.where, fault.what) == (
        "customers.csv row 3 (line 4), customer",
        f"'{COMPOSED}' stands in line 2 already",
    )


def test_two_plans_that_become_one_id_are_a_fault_that_names_both(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "", text=CONFIG.replace('id = "small"', 'id = "{decomposed}"').replace("extends", "name"))
    assert f"plans[1].id: '{COMPOSED}' stands at plans[0] already; keep one of the two" in map(str, caught.value.faults)


def test_a_project_name_gives_customer_and_plan_in_composed_form():
    pro = plan(COMPOSED)
    name = f" x-{DECOMPOSED}-{DECOMPOSED}-1 "
    seen = [("p-1", "org-1", datetime(2026, 8, 1, tzinfo=UTC), name)]
    found = segments(existence(**{"p-1": (None, None)}), seen=seen, organizations=[organization()], plans=[pro])
    assert found.select("customer", "plan").rows() == [(COMPOSED, COMPOSED)]
    assert ratecard.unknown_plans([name], PATTERN, [pro]) == []
    assert ratecard.unknown_plans([name], PATTERN, [plan("pro")]) == [(name, COMPOSED)]


def test_a_link_made_for_another_spelling_opens_the_customers_page():
    secret = Secret("0123456789abcdef0123456789abcdef")
    token = links.sign(DECOMPOSED, datetime(2026, 11, 1, tzinfo=UTC), secret)
    assert links.opened(token, datetime(2026, 10, 1, tzinfo=UTC), secret) == COMPOSED


@pytest.mark.parametrize(("stored", "asked"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED.upper())])
def test_a_search_in_a_list_finds_either_spelling(stored, asked):
    found = listing(Sheet(table=tables.CUSTOMERS, rows=[{"customer": stored}]), "/customers", {"q": asked})
    assert [row["customer"] for row in found.rows] == [stored]


def test_a_plan_is_changed_where_the_file_writes_the_project_otherwise():
    text = f"project_id,customer,plan,valid_from,valid_to\n{DECOMPOSED},a,pro,2026-01-01,\n"
    after = Choice(project_id=COMPOSED, customer="a", plan="team")
    whole, _ = switched(text, None, after, datetime(2026, 3, 1, tzinfo=UTC))
    assert f"{DECOMPOSED},a,pro,2026-01-01,2026-03-01T00:00:00Z\n" in whole


def test_a_store_of_before_finds_its_customers_under_their_composed_ids():
    connection = duckdb.connect()
    migrations.migrate_tables(connection, "0011_rules.sql")
    connection.execute(
        "insert into parked values ('2026-09', $old, 1, 'why'), ('2026-09', 'acme', 1, 'why'), "
        "('2026-08', $old, 1, 'old'), ('2026-08', $new, 2, 'new')",
        {"old": DECOMPOSED, "new": COMPOSED},
    )
    connection.execute(
        "insert into invoice values ('INV-1', 1, '2026-09', $id, 'final', 'USD', '1', now(), 'invoice 2026', 1, $id)",
        {"id": DECOMPOSED},
    )
    migrations.migrate(connection)
    assert connection.execute("select month, customer, reason from parked order by all").fetchall() == [
        ("2026-08", COMPOSED, "new"),
        ("2026-09", COMPOSED, "why"),
        ("2026-09", "acme", "why"),
    ]
    assert connection.execute("select customer, document from invoice").fetchall() == [(COMPOSED, DECOMPOSED)]
