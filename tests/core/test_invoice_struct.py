"""Documents as structs: reading returns what was written, key by key."""

import json
import re

import msgspec
import pytest

from metering.billing.usage_document import UsageRow
from metering.core.invoice import Invoice, Line, by_project, converted, decoded
from metering.invoicing.issued import Document
from metering.quotas.rows import QuotaRow
from metering.web import openapi
from tests.support.issued import documents


def written(document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["number"])
def test_a_document_is_read_without_loss(document):
    found = decoded(written(document))
    assert found == converted(document)
    assert msgspec.to_builtins(found) == document


def test_a_key_that_this_version_does_not_know_is_shown_all_the_same():
    document = documents()[0] | {"paid_at": "2026-10-05T00:00:00Z"}
    found = Document(written(document), "void")
    assert found.invoice.status == "void"
    assert written(found.printed()) == written(document | {"status": "void"})


def test_a_line_that_says_no_tax_is_told_from_one_that_has_none():
    [first, *_] = documents()
    for told, has_said, rate in (({}, False, None), ({"tax_rate_percent": None}, True, None)):
        [line] = converted(first | {"lines": [first["lines"][0] | told]}).lines
        assert (line.has_said_tax, line.rate) == (has_said, rate)


def test_a_customers_line_is_split_into_its_projects_and_a_projects_line_stays():
    found = converted(next(one for one in documents() if one["number"] == "INV-2026-000002"))
    parts = [(line.project_id, line.amount) for line in by_project(found.lines) if line.meter == "storage"]
    assert parts[:2] == [("project-1", "4.21"), ("project-2", "8.19")]


def test_the_description_of_the_api_derives_from_the_structs_and_refers_to_nothing_that_is_missing():
    described = openapi.document("http://localhost/")
    schemas = described["components"]["schemas"]
    for name, struct in (("Invoice", Invoice), ("Line", Line), ("UsageRow", UsageRow), ("QuotaRow", QuotaRow)):
        assert schemas[name]["properties"].keys() == {field.encode_name for field in msgspec.structs.fields(struct)}
    assert schemas["Line"]["properties"]["amount"]["description"] == "A decimal string."
    assert "tax_rate_percent" not in schemas["Line"]["required"]  # documents of the first version do not say it
    targets = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert targets <= schemas.keys()
