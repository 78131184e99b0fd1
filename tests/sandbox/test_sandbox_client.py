"""The npm package @neondatabase/api-client, which nobody here wrote, walks the sandbox (where Node is present)."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.sandbox.state import truth_table
from tests.support.sandbox_world import sandbox

SOURCE = Path(__file__).parent / "sandbox_client"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the client installed at the version that package.json pins."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node and npm are not installed")
    directory = tmp_path_factory.mktemp("sandbox_client")
    for name in ("package.json", "walk.js"):
        shutil.copy(SOURCE / name, directory / name)
    install = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(install, cwd=directory, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm package could not be installed: npm did not answer in time")
    if done.returncode:
        pytest.skip(f"the npm package could not be installed: npm ended with {done.returncode}")
    return directory


def walked(directory: Path, base_url: str) -> Any:
    command = ["node", "walk.js", base_url, PERSONAL_KEY, PAID_ORGANIZATION]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_vendors_own_client_walks_the_sandbox_and_arrives_at_the_truth(client: Path):
    with sandbox(projects=40) as world:
        found = walked(client, str(world.client.base_url).rstrip("/"))
        rows = truth_table(world.state, datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 14, tzinfo=UTC))
        listed = world.get("/projects", org_id=PAID_ORGANIZATION, limit="400").json()["projects"]
    truth = {f"{r['project_id']}/{r['metric']}": r["value"] for r in rows if r["organization"] == PAID_ORGANIZATION}
    assert {key: value for key, value in found["used"].items() if value} == truth
    assert [project_id for project_id in found["ids"] if project_id != found["ids"][1]] == [p["id"] for p in listed]
    assert found["period"] == "2026-11-01T00:00:00Z"
    assert found["quota"]["compute_time_seconds"] == 36000
    assert found["branches"] >= 1
    assert found["perBranch"] >= 3
    assert found["organizations"] == [PAID_ORGANIZATION, SPONSORED_ORGANIZATION]
    assert found["organization"] == PAID_ORGANIZATION
    assert found["auth"] == "api_key_user"
    assert found["unknownMetric"][0] == 400
    assert '"metrics"' in found["unknownMetric"][1]
    assert found["legacy"] == 200
    assert found["deleted"] == 200
    assert found["ids"][1] in found["recoverable"]
