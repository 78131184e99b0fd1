"""`check` is not ready with references to unknown or misspelt names; each fault has the nearest known name."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from metering.cli import cli
from metering.config import Config
from metering.service import check_references
from metering.service.check_references import Listed
from tests.support.books import Books, configured

COMPOSED, DECOMPOSED = "M\u00fcller", "Mu\u0308ller"
NOW = datetime(2026, 10, 3, tzinfo=UTC)
PRO = '[[plans]]\nid = "pro"\nname = "Pro"\ncurrency = "USD"\nbase_fee = "100.00"\n'
B18 = {
    "customers": f"customer,tax_rate_percent,tax_name\n{COMPOSED},21,VAT\nacme,21,VAT\n",
    "subscriptions": f"project_id,customer,plan\np-1,{DECOMPOSED},pro\np-2,Acme,pro\n",
    "more": '[seller]\nname = "Seller"\n[[discounts]]\ncustomer = "nobody"\npercent = "10"\n',
}


def told(config: Config, projects=(), now: datetime = NOW) -> tuple[dict, list[tuple]]:
    findings: list[tuple] = []
    sections = check_references.sections(config, list(projects), now, lambda *finding: findings.append(finding))
    return sections, findings


def listed(*names: str, organization: str = "org-1") -> list[Listed]:
    return [
        Listed(project_id=f"p-{index}", name=name, organization=organization) for index, name in enumerate(names, 1)
    ]


# -- B18


def test_b18_check_names_all_three_with_their_nearest_neighbours(tmp_path):
    sections, findings = told(configured(tmp_path, PRO, **B18))
    assert [(subject, state, detail) for subject, _, state, detail, *_ in findings] == [
        (
            "subscriptions.csv row 1 (line 2), customer",
            "note",
            f"'{DECOMPOSED}' is written in decomposed letters; it is read as '{COMPOSED}', the composed form",
        ),
        ("customers", "note", "1 customer has no row in customers.csv, so no name, no address and no tax: Acme"),
        (
            "subscriptions.csv row 2 (line 3), customer",
            "fault",
            "'Acme' has no row in customers.csv; did you mean 'acme' (customers.csv row 2 (line 3))?"
            " They differ only by case or form; else give it a row",
        ),
        (
            "discounts[0].customer",
            "fault",
            "'nobody' is nobody: no row of customers.csv, subscription or project has this customer;"
            f" known customers: Acme, {COMPOSED}, acme",
        ),
    ]
    assert [finding[4] for finding in findings if finding[2] == "fault"] == [3, 3]
    assert sections["references"] == [
        {
            "where": "subscriptions.csv row 2 (line 3), customer",
            "what": "subscription",
            "name": "Acme",
            "nearest": "acme",
        },
        {"where": "discounts[0].customer", "what": "discount", "name": "nobody", "nearest": None},
    ]


def test_b18_the_command_ends_with_3_and_says_last_what_to_do_first(tmp_path):
    config = configured(tmp_path, PRO, **B18)
    path = config.path.read_text().replace('[[organizations]]\nid = "org-1"\napi_key_env = "KEY"\n', "")
    config.path.write_text(path)
    first = "not ready: first subscriptions.csv row 2 (line 3), customer: 'Acme' has no row in customers.csv;"
    arguments = ["check", "--config", str(config.path)]
    table = CliRunner().invoke(cli, [*arguments, "--format", "table"])
    assert table.exit_code == 3
    assert table.stdout.splitlines()[-1].startswith(first)
    piped = CliRunner().invoke(cli, arguments)
    assert piped.exit_code == 3
    document = json.loads(piped.stdout)
    assert document["is_ready"] is False and document["verdict"].startswith(first)
    assert piped.stderr.splitlines()[-1].startswith(f"metering: {first}")
    assert all(name in piped.stdout for name in (DECOMPOSED, "Acme", "nobody"))


def test_b18_composed_and_decomposed_are_one_customer_with_its_tax_and_another_case_is_another(tmp_path):
    config = configured(tmp_path, PRO, **B18)
    desk = Books(tmp_path / "var")
    with desk.open() as found:
        desk.inventory(found, {"p-1": "one", "p-2": "two"}, at="2026-10-03")
        desk.history(found, {"p-1": {}, "p-2": {}}, since="2026-09-01", until="2026-10-01", at="2026-10-03")
    ran = CliRunner().invoke(
        cli, ["close", "2026-09", "--config", str(config.path)], env={"METERING_NOW": "2026-10-03T00:00:00Z"}
    )
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert {one["customer"]["id"]: (one["subtotal"], one["total"]) for one in document["invoices"]} == {
        COMPOSED: ("100.00", "121.00"),
        "Acme": ("100.00", "100.00"),
    }
    assert document["customers_without_row"] == {"count": "1", "named": ["Acme"]}
    assert ran.stderr.splitlines()[-1] == (
        "metering: 1 customer has no row in customers.csv, so no name, no address and no tax: Acme"
    )


# -- what is ready, and what is not known yet


def test_what_is_right_is_ready(tmp_path):
    config = configured(
        tmp_path,
        PRO,
        customers="customer\nacme\nspare\n",
        subscriptions="project_id,customer,plan\np-1,acme,pro\n",
        more='[[discounts]]\ncustomer = "spare"\npercent = "10"\n',
    )
    sections, findings = told(config)
    assert findings == [("customers", "rows", "ok", "each customer that is known has a row in customers.csv")]
    assert sections == {
        "unknown_plans": [],
        "customers_without_row": {"count": "0", "named": []},
        "references": [],
    }


def test_the_command_says_ready_in_its_last_line(tmp_path):
    (tmp_path / "config.toml").write_text(PRO + '[seller]\nname = "Seller"\n')
    ran = CliRunner().invoke(cli, ["check", "--config", str(tmp_path / "config.toml"), "--format", "table"])
    assert (ran.exit_code, ran.stdout.splitlines()[-1], ran.stderr) == (0, "ready", "")


def test_a_faulty_configuration_still_ends_with_4_and_says_what_to_do_first(tmp_path):
    (tmp_path / "config.toml").write_text(PRO + "[sellar]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "metering", "check", "--config", str(tmp_path / "config.toml")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (4, "")
    assert ran.stderr.splitlines() == [
        "metering: sellar: is not a known key; did you mean seller?",
        "  not ready: first correct sellar",
    ]


@pytest.mark.parametrize(("count", "named", "more"), [(1, 1, ""), (10, 10, ""), (12, 10, " and 2 more")])
def test_customers_without_a_row_are_counted_and_ten_named(tmp_path, count, named, more):
    rows = "".join(f"p-{number},c{number:02},pro\n" for number in range(count))
    config = configured(tmp_path, PRO, subscriptions=f"project_id,customer,plan\n{rows}")
    sections, findings = told(config)
    names = [f"c{number:02}" for number in range(named)]
    assert sections["customers_without_row"] == {"count": str(count), "named": names}
    have = "customer has no row" if count == 1 else "customers have no row"
    detail = f"{count} {have} in customers.csv, so no name, no address and no tax: {', '.join(names)}{more}"
    assert findings == [("customers", "rows", "note", detail)]


def test_without_customers_csv_nobody_lacks_a_row(tmp_path):
    (tmp_path / "subscriptions.csv").write_text("project_id,customer,plan\np-1,acme,pro\n")
    (tmp_path / "config.toml").write_text(f'[customers]\nsubscriptions = "subscriptions.csv"\n{PRO}')
    from metering.config import read

    sections, findings = told(read(tmp_path / "config.toml", environ={}))
    assert (sections["customers_without_row"], findings) == ({"count": "0", "named": []}, [])


PATTERN = "[customers]\nfile = \"customers.csv\"\nproject_name_pattern = '(?P<customer>[^-]+)-(?P<plan>.+)'\n"


def by_name(directory, *, customers: str, more: str = "") -> Config:
    """Customers and plans by the names of projects."""
    from metering.config import read

    (directory / "customers.csv").write_text(customers)
    organization = '[[organizations]]\nid = "org-1"\napi_key_env = "KEY"\n'
    (directory / "config.toml").write_text(f"{organization}{PATTERN}{more}\n{PRO}")
    return read(directory / "config.toml", environ={})


def test_a_project_name_whose_customer_differs_by_case_and_one_that_asks_for_no_plan_are_faults(tmp_path):
    config = by_name(tmp_path, customers="customer\nacme\n")
    sections, findings = told(config, listed("Acme-pro", "acme-prro", "acme-pro"))
    assert [finding for finding in findings if finding[2] == "fault"] == [
        (
            "project acme-prro",
            "plan",
            "fault",
            "its name asks for the plan 'prro', which does not exist; did you mean pro?",
            3,
        ),
        (
            "project Acme-pro",
            "customer",
            "fault",
            "'Acme' has no row in customers.csv; did you mean 'acme' (customers.csv row 1 (line 2))?"
            " They differ only by case or form; else give it a row",
            3,
        ),
    ]
    assert sections["unknown_plans"] == [{"project_name": "acme-prro", "plan": "prro"}]


def test_of_names_that_ask_for_no_plan_ten_are_named_and_all_listed(tmp_path):
    config = by_name(tmp_path, customers="customer\nacme\n")
    sections, findings = told(config, listed(*(f"acme-x{number:02}" for number in range(11))))
    faults = [finding for finding in findings if finding[2] == "fault"]
    assert [finding[0] for finding in faults] == [*(f"project acme-x{number:02}" for number in range(10)), "projects"]
    assert faults[-1][3] == "and 1 more of this kind"
    assert len(sections["unknown_plans"]) == 11


DISCOUNT = '[[discounts]]\ncustomer = "{}"\npercent = "10"\n'


@pytest.mark.parametrize(
    ("customer", "projects", "state"),
    [
        ("zeta", (), "note"),
        ("zeta", ("acme-pro",), "fault"),
        ("zeta", ("zeta-pro",), None),
        ("zeta", ("zeta-gone",), "fault"),
        ("acme", (), None),
    ],
)
def test_a_discount_for_who_may_come_with_the_first_poll_is_no_fault_before_it(tmp_path, customer, projects, state):
    config = by_name(tmp_path, customers="customer\nacme\n", more=DISCOUNT.format(customer))
    _, findings = told(config, listed(*projects))
    assert [found[2] for found in findings if found[0] == "discounts[0].customer"] == ([state] if state else [])


def test_a_discount_for_a_mistyped_customer_names_the_nearest(tmp_path):
    config = configured(
        tmp_path,
        PRO,
        customers="customer\nacme-industries\nzeta\n",
        subscriptions="project_id,customer,plan\np-1,zeta,pro\n",
        more=DISCOUNT.format("acme-industri"),
    )
    sections, findings = told(config)
    assert sections["references"][0]["nearest"] == "acme-industries"
    assert "did you mean 'acme-industries'?" in findings[-1][3]


def test_a_subscription_of_a_project_that_no_poll_has_shown_is_noted_and_a_fault_where_its_case_differs(tmp_path):
    rows = "P-1,acme,pro,\np-3,acme,pro,\ncalm-dawn,acme,pro,\nold,acme,pro,2026-10-03\nyoung,acme,pro,2026-10-04\n"
    config = configured(tmp_path, PRO, subscriptions=f"project_id,customer,plan,valid_to\n{rows}")
    sections, findings = told(config, listed("one", "two", "three"))
    assert [finding[:4] for finding in findings if finding[1] == "project"] == [
        (
            "subscriptions.csv row 1 (line 2), project_id",
            "project",
            "fault",
            "no poll has shown a project 'P-1'; did you mean 'p-1'?",
        ),
        (
            "subscriptions.csv row 3 (line 4), project_id",
            "project",
            "note",
            "no poll has shown a project 'calm-dawn'",
        ),
        ("subscriptions.csv row 5 (line 6), project_id", "project", "note", "no poll has shown a project 'young'"),
    ]
    assert [row["name"] for row in sections["references"]] == ["P-1", "calm-dawn", "young"]
    assert told(config)[0]["references"] == []
