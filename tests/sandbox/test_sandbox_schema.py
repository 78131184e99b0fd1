"""The sandbox's bodies against the API's specification, where it lies beside the project (it may not be shipped)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from tests.support.sandbox_world import EIGHT, V2, Asker, sandbox

SPECIFICATION = Path(__file__).parents[3] / "shared" / "neon" / "openapi.json"

pytestmark = pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not at hand")

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@pytest.fixture(scope="module")
def world() -> Iterator[Asker]:
    with sandbox(projects=40) as asker:
        yield asker


@pytest.fixture(scope="module")
def specification() -> Any:
    return json.loads(SPECIFICATION.read_text())


def resolved(specification: Any, schema: Any) -> Any:
    while "$ref" in schema:
        found = specification
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def faults(specification: Any, schema: Any, value: Any, where: str) -> list[str]:
    """What of the value breaks the schema (the part of JSON Schema that the specification uses)."""
    schema = resolved(specification, schema)
    out = [f for part in schema.get("allOf", ()) for f in faults(specification, part, value, where)]
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        return [f"{where}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        out.append(f"{where}: {value!r} is not in the enum")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        out.append(f"{where}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, dict):
        out += [f"{where}: lacks {name}" for name in schema.get("required", ()) if name not in value]
        for name, part in schema.get("properties", {}).items():
            if name in value:
                out += faults(specification, part, value[name], f"{where}.{name}")
    if isinstance(value, list):
        out += [f for item in value for f in faults(specification, schema.get("items", {}), item, f"{where}[]")]
    return out


def answer_schema(specification: Any, path: str, status: str, method: str = "get") -> Any:
    answers = specification["paths"][path][method]["responses"]
    answer = resolved(specification, answers[status] if status in answers else answers["default"])
    return answer["content"]["application/json"]["schema"]


def asked(world: Asker, path: str, **params: str) -> Any:
    return world.get(path, **params).json()


def test_history_bodies_fit_the_specification(world: Asker, specification: Any):
    six = EIGHT.rsplit(",", 2)[0]
    ids = ",".join(project["project_id"] for project in world.history(limit="20").json()["projects"])
    pages = {
        V2: world.history(limit="5").json(),
        "/consumption_history/v2/branches": world.history(
            "/consumption_history/v2/branches", metrics=six, project_ids=ids
        ).json(),
        "/consumption_history/projects": world.history("/consumption_history/projects", metrics=None).json(),
    }
    for path, body in pages.items():
        assert faults(specification, answer_schema(specification, path, "200"), body, path) == []


def test_inventory_bodies_fit_the_specification(world: Asker, specification: Any):
    project_id = next(p.id for p in world.state.projects if p.quota and p.children and p.deleted_at is None)
    bodies = {
        "/projects/{project_id}": asked(world, f"/projects/{project_id}"),
        "/projects/{project_id}/branches": asked(world, f"/projects/{project_id}/branches"),
        "/users/me/organizations": asked(world, "/users/me/organizations"),
        "/organizations/{org_id}": asked(world, f"/organizations/{PAID_ORGANIZATION}"),
        "/auth": asked(world, "/auth"),
    }
    for path, body in bodies.items():
        assert faults(specification, answer_schema(specification, path, "200"), body, path) == []


def test_the_list_of_projects_fits_but_for_the_value_that_the_live_api_sends_too(world: Asker, specification: Any):
    schema = answer_schema(specification, "/projects", "200")
    for organization in (PAID_ORGANIZATION, SPONSORED_ORGANIZATION):
        body = asked(world, "/projects", org_id=organization, limit="400")
        found = faults(specification, schema, body, "list")
        assert set(found) == {"list.projects[].effective_project_permission: 'ADMIN' is not in the enum"}


def test_changes_fit_the_specification(specification: Any):
    with sandbox(projects=12) as world:
        paid, free = (
            asked(world, "/projects", org_id=organization)["projects"][0]["id"]
            for organization in (PAID_ORGANIZATION, SPONSORED_ORGANIZATION)
        )
        headers = {"Authorization": "Bearer sandbox-key"}
        patch = {"project": {"settings": {"quota": {"compute_time_seconds": 0}}}}
        there = f"/organizations/{SPONSORED_ORGANIZATION}/projects/transfer"
        back = f"/organizations/{PAID_ORGANIZATION}/projects/transfer"
        move = "/organizations/{source_org_id}/projects/transfer"
        client = world.client
        answers = [
            ("/projects/{project_id}", "patch", client.patch(f"/projects/{paid}", json=patch, headers=headers)),
            (
                move,
                "post",
                client.post(
                    back, json={"destination_org_id": SPONSORED_ORGANIZATION, "project_ids": [paid]}, headers=headers
                ),
            ),
            (
                move,
                "post",
                client.post(
                    there, json={"destination_org_id": PAID_ORGANIZATION, "project_ids": [free]}, headers=headers
                ),
            ),
            ("/projects/{project_id}", "delete", client.delete(f"/projects/{paid}", headers=headers)),
        ]
    assert [answer.status_code for _, _, answer in answers] == [200, 406, 200, 200]
    for path, method, answer in answers:
        schema = answer_schema(specification, path, str(answer.status_code), method)
        assert faults(specification, schema, answer.json(), path) == []


def test_refusals_fit_the_specification(world: Asker, specification: Any):
    schema = {"$ref": "#/components/schemas/GeneralError"}
    refusals = [
        world.history(granularity="weekly"),
        world.history(org_id=SPONSORED_ORGANIZATION),
        world.history(org_id="org-foreign-1"),
        world.history(**{"from": "2026-01-01T00:00:00Z"}),
        world.get("/projects", key="wrong"),
    ]
    assert [answer.status_code for answer in refusals] == [400, 403, 404, 406, 401]
    assert [faults(specification, schema, answer.json(), "error") for answer in refusals] == [[], [], [], [], []]
