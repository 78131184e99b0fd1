"""Like cases end alike in every command: the manual's table, line by line, against the commands themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import PRO, TOP, Desk

INVOICE = "INV-2026-000001"
TOTAL = ("--total", "1")
EXPORTS = ("focus", "stripe", "xero", "quickbooks", "beancount", "hledger", "ubl", "facturx", "cloudevents", "lago")

# The table's own words -> what ends so; `@` stands for the directory.
CASES: dict[str, list[tuple[str, ...]]] = {
    "an id that there is not: of an invoice, line, customer, alert, alarm, project, plan or organization": [
        ("invoice", "INV-9"),
        ("invoice", "INV-9", "--html", "@/page.html"),
        ("void", "INV-9", "--reason", "x"),
        ("explain", "INV-9"),
        ("explain", INVOICE, "99"),
        ("explain", INVOICE, "nothing"),
        ("explain", "nobody", "--month", "current"),
        ("explain", "ant-1", "9", "--month", "current"),
        ("export", "xero", "2026-09", "--number", "INV-9"),
        ("close", "2026-09", "--release", "nobody", "--reason", "x"),
        ("close", "2026-10", "--release", "nobody", "--reason", "x"),
        ("close", "2026-09", "--release", "nobody", "--reason", "x", "--dry-run"),
        ("acknowledge", "alarm_0", "--reason", "x"),
        ("alerts", "resend", "alert_0"),
        ("serve", "--link", "nobody"),
        ("quotas", "apply", "--project", "nothing"),
        ("upgrade", "nothing", "--plan", "pro"),
        ("upgrade", "bee-1", "--plan", "gold"),
        ("upgrade", "bee-1", "--plan", "pro", "--transfer-to", "org-z"),
    ],
    "a filter that meets nothing: `usage --project`": [("usage", "2026-09", "--project", "nothing")],
    "what is no month, number, date, address or format; options that do not go together": [
        ("usage", "2026-13"),
        ("usage", "9999-12"),
        ("report", "9999-12"),
        ("invoices", "x"),
        ("close", "2026-9"),
        ("report", "x"),
        ("export", "xero", "x"),
        ("reconcile", "x", *TOTAL),
        ("explain", "ant-1", "--month", "x"),
        ("backtest", "--plans", "@/plans.toml", "--from", "x"),
        ("backtest", "--plans", "@/plans.toml", "--to", "x"),
        ("backtest", "--plans", "@/plans.toml", "--from", "2026-09", "--to", "2026-08"),
        ("reconcile", "2026-09"),
        ("reconcile", "2026-09", "--total", "x"),
        ("reconcile", "2026-09", "--invoice", "@/neon.csv", *TOTAL),
        ("advice", "--months", "0"),
        ("advice", "--months", "x"),
        ("serve", "--listen", "x"),
        ("serve", "--link", "ant-1", "--days", "0"),
        ("serve", "--link", "ant-1", "--days", "x"),
        ("backfill", "--from", "x"),
        ("backfill", "--from", "2026-09-01", "--to", "2026-09-01"),
        ("report", "2026-09", "--format", "x"),
        ("usage", "2026-09", "--format", "x"),
        ("export", "xero", "2026-09", "--drafts"),
        ("close", "2026-09", "--release", "bee-1"),
        ("void", INVOICE, "--reason", " "),
        ("acknowledge", "alarm_0"),
    ],
    "a file named on the command line that is not there or is a directory": [
        ("reconcile", "2026-09", "--invoice", "@/none"),
        ("reconcile", "2026-09", "--invoice", "@/directory"),
        ("backtest", "--plans", "@/none"),
        ("backtest", "--plans", "@/directory"),
    ],
    "a file named on the command line that is faulty: every fault is told": [
        ("reconcile", "2026-09", "--invoice", "@/latin"),
        ("reconcile", "2026-09", "--invoice", "@/text"),
        ("backtest", "--plans", "@/latin"),
        ("backtest", "--plans", "@/text"),
        ("backtest", "--plans", "@/gold.toml"),
    ],
    "the configuration, missing or faulty; a setting that the command needs": [
        ("status", "--config", "@/none"),
        ("status", "--config", "@/directory"),
        ("status", "--config", "@/latin"),
        ("status", "--config", "@/text"),
        ("export", "stripe", "2026-09", "--send"),
    ],
    "a file that cannot be written": [
        ("export", "xero", "2026-09", "-o", "@/none/file.csv"),
        ("invoice", INVOICE, "--html", "@/none/page.html"),
        ("init", "@/text/none"),
        ("backup", "@/text/none"),
    ],
    "`close` of a month that is not over, or not read": [
        ("close", "current"),
        ("close", "2027-01"),
        ("close", "2020-01"),
        ("close", "current", "--dry-run"),
    ],
    "`export` of documents of which one cannot be expressed in the format: the others are written": [
        ("export", "ubl", "2026-09", "--number", INVOICE),
        ("export", "stripe", "2026-09"),
    ],
    "any other command for a month that is not closed: drafts, or nothing": [
        ("usage", "current"),
        ("usage", "2027-01"),
        ("invoices", "current"),
        ("invoices", "2027-01"),
        ("report", "current", "--format", "json"),
        ("reconcile", "current", *TOTAL),
        ("backtest", "--plans", "@/plans.toml", "--from", "current", "--to", "current"),
        *(("export", form, "current") for form in EXPORTS),
    ],
}


def table() -> dict[str, int]:
    """What the manual says: the case -> the exit code."""
    text = (TOP / "docs" / "commands.md").read_text().split("\n## Like cases\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {case: int(code) for case, code in cells[2:]}


def test_the_manual_tells_these_cases_and_no_other():
    assert set(table()) == set(CASES)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Two customers, September closed, October under way."""
    directory = tmp_path_factory.mktemp("desk")
    (directory / "directory").mkdir()
    (directory / "latin").write_bytes(b"plan,amount\n\xfc,1\n")
    (directory / "text").write_text("words = 1\n")
    (directory / "plans.toml").write_text(PRO)
    (directory / "gold.toml").write_text(PRO.replace('"pro"', '"gold"'))
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project in ("bee-1", "ant-1"):
            fleet.project(project)
            fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=7200)
        found = Desk(
            directory=directory,
            neon=neon,
            now="2026-10-03T12:00:00Z",
            default_plan="pro",
            more='[dashboard]\nlink_secret_env = "LINKS"\n',
            environment={"NEON_API_KEY": "key-of-the-platform", "LINKS": "a-secret-that-nobody-guesses"},
        )
        found.good("backfill")
        found.good("close", "2026-09")
        yield found


@pytest.mark.parametrize(
    ("case", "arguments"),
    [(case, arguments) for case, found in CASES.items() for arguments in found],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_like_cases_end_alike(desk: Desk, case: str, arguments: tuple[str, ...]) -> None:
    given = [argument.replace("@", str(desk.directory)) for argument in arguments]
    ran = desk.run(*given, config="--config" not in given)
    assert ran.code == table()[case], ran
    assert ran.code in {0, 3} or not ran.out, "what failed prints no data"
    assert "Traceback" not in ran.err
    assert Path(desk.directory / "none").exists() is False
