"""The API's description as an OpenAPI 3.1 document: paths, parameters and the schema of each answer.

Data. The schemas of documents derive from their structs, those of lists from the catalogue of columns. Keys are those
of the commands' JSON: some may be added, none is renamed, so no schema forbids others.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from metering import __version__
from metering.billing.usage_document import MonthCoverage, Usage
from metering.core.invoice import Invoice
from metering.ledger.alert_log import AlertRow
from metering.quotas.rows import QuotaRow
from metering.rendering.columns import NUMBERS, Column, is_cost
from metering.reporting import columns
from metering.web import tables

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "A decimal string."}
MOMENT: Json = {"type": "string", "format": "date-time"}
FLAG: Json = {"type": "boolean"}


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


KINDS: dict[str, Json] = {"moment": MOMENT, "list": _list(TEXT), "flag": FLAG, **dict.fromkeys(NUMBERS, NUMBER)}
"""Kind of a column -> the schema of its cells, where they are no plain text."""


def _row(columns: Mapping[Column, bool]) -> Json:
    """The schema of a table's row; columns -> whether a cell may be null."""
    cells = {column.name: (KINDS.get(column.kind, TEXT), is_nullable) for column, is_nullable in columns.items()}
    return _object(
        **{name: _or_null(schema) if is_nullable else schema for name, (schema, is_nullable) in cells.items()}
    )


STRUCTS = (Usage, MonthCoverage, QuotaRow, Invoice, AlertRow)
"""The documents whose schemas derive from their structs."""
REFERENCE = "#/components/schemas/{name}"
WRITTEN: dict[str, Json] = {
    "QuotaRow": {"used": _or_null(NUMBER), "limit": _or_null(NUMBER), "forecast": {"type": ["object", "null"]}},
    "Delivery": {"attempts": NUMBER},
}
"""Fields that are written in another type than the struct has."""


def _schemas() -> Json:
    """Name -> schema of every struct in an answer."""
    _, found = msgspec.json.schema_components(STRUCTS, ref_template=REFERENCE)
    kept = {name: found[name] for name in sorted(found) if name != "Forecast"}
    return {
        name: schema | {"properties": schema["properties"] | WRITTEN.get(name, {})} for name, schema in kept.items()
    }


def _of(struct: type) -> Json:
    return {"$ref": REFERENCE.format(name=struct.__name__)}


ANY: Json = {"type": "object"}
PERIOD = _object(start=MOMENT, end=MOMENT)
CUSTOMER = _row(columns.promised("customers"))
PROJECT = _row(columns.promised("projects"))
CYCLE = _row({column: False for column in tables.CYCLES.columns if column.name not in {"pages", "changes"}})
DEED = _object(at=MOMENT, who=TEXT, kind=TEXT, what=TEXT, seq=NUMBER, **{"from": TEXT})
PROBLEM = _object(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT)

MONTH: Json = {
    "name": "month",
    "in": "query",
    "description": "A UTC calendar month; the running one by default.",
    "schema": {
        "type": "string",
        "pattern": r"^((19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])|current|previous)$",
        "examples": ["2026-10"],
    },
}


def _parameter(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "description": description, "required": required, "schema": schema}


LONGEST = 500
WORD: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST}
NUMBER_OF = _parameter("number", "The number of an invoice or a credit note.", WORD, required=True)
WHOSE = {**NUMBER_OF, "description": "The number of an invoice or a credit note; with `month` a customer's id."}
BY = _parameter("by", "A row per day (without it) or per hour.", {"enum": ["day", "hour"]})
PROJECT_OF = _parameter("project", "Only this project.", WORD)
LINE_OF = _parameter("line", "A line's key, or its number from 1; without it all lines in short.", WORD)

_HEAD: Json = {"as_of": MOMENT}
PATHS: dict[str, tuple[str, list[Json], Json]] = {
    "/api/status": (
        "Freshness, gaps, outbox, alarms, sizes",
        [],
        _object(organizations=_list(ANY), gaps=_list(ANY), **_HEAD),
    ),
    "/api/months": ("The months that anything is known of, the latest first", [], _object(months=_list(TEXT))),
    "/api/overview": (
        "A month's figures",
        [MONTH],
        _object(report=ANY, coverage=_of(MonthCoverage), totals=_list(ANY), margin=ANY),
    ),
    "/api/usage": (
        "Usage per organization, project and metric",
        [MONTH, PROJECT_OF],
        _of(Usage),
    ),
    "/api/timeline": (
        "Usage of one project by day or hour",
        [MONTH, {**PROJECT_OF, "required": True}, BY],
        _of(Usage),
    ),
    "/api/quotas": ("Every quota with a limit", [], _object(quotas=_list(_of(QuotaRow)), **_HEAD)),
    "/api/customers": ("Who is invoiced for a month", [MONTH], _object(month=TEXT, customers=_list(CUSTOMER), **_HEAD)),
    "/api/projects": ("Every project of a month", [MONTH], _object(month=TEXT, projects=_list(PROJECT), **_HEAD)),
    "/api/invoices": ("A month's invoices", [MONTH], _object(period=PERIOD, invoices=_list(_of(Invoice)))),
    "/api/invoice": ("One issued invoice", [NUMBER_OF], _of(Invoice)),
    "/api/explain": (
        "From an invoice line to the pages behind it",
        [WHOSE, LINE_OF, {**MONTH, "description": "With it, `number` is a customer's id: their draft of this month."}],
        _object(number=_or_null(TEXT), status=TEXT, total=NUMBER),
    ),
    "/api/alerts": ("Alerts with where they were delivered", [], _object(alerts=_list(_of(AlertRow)))),
    "/api/plans": ("The plans on offer", [], _object(plans=_list(_object(id=TEXT, name=TEXT, currency=TEXT)))),
    "/api/cycles": ("The last runs of poll, backfill and tick", [], _object(cycles=_list(CYCLE))),
    "/api/history": ("Who did what, when and from where", [], _object(history=_list(DEED))),
    "/api/openapi.json": ("This document", [], _object(openapi=TEXT, paths=ANY)),
}
"""Path -> summary, parameters, schema of the answer."""
_PROBLEMS = {
    "400": "A parameter is wrong or unknown",
    "401": "The token is missing",
    "403": "Not from here, or not for your role",
    "404": "There is no such month, invoice or line",
    "503": "The snapshot cannot be read at the moment",
}


def parameters(path: str) -> list[Json]:
    """The parameters of a path."""
    return PATHS[path][1] if path in PATHS else []


def document(base: str, *, has_cost: bool = True) -> Json:
    """The document; `base` is the address of the server. Without cost, its schemas do not name such figures."""
    whole = _document(base)
    return whole if has_cost else _without_cost(whole)


def _without_cost(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_cost(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _without_cost(value) for name, value in schema.items()}
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {name: value for name, value in kept["properties"].items() if not is_cost(name)}
        kept["required"] = [name for name in kept.get("required", ()) if not is_cost(name)]
    return kept


def _document(base: str) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "metering",
            "version": __version__,
            "description": "What the commands print, read-only. What counts something or is money is a decimal string.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base.rstrip("/")}],
        "security": [{}, {"token": []}, {"password": []}],
        "paths": {path: {"get": _operation(path)} for path in PATHS},
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
            "schemas": {**_schemas(), "Problem": PROBLEM},
        },
    }


def _operation(path: str) -> Json:
    summary, asked, answer = PATHS[path]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    plain = {"text/plain": {"schema": TEXT}}
    return {
        "operationId": path.removeprefix("/api/").partition(".")[0],
        "summary": summary,
        "parameters": asked,
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": answer}}},
            **{
                code: {"description": text, "content": {"401": plain, "403": plain | problem}.get(code, problem)}
                for code, text in _PROBLEMS.items()
            },
        },
    }
