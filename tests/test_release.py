"""What a release is made of: the bill of materials, and install lines that check every hash."""

import json
import re
from pathlib import Path

import pytest

from deploy.sbom import bill, components

TOP = Path(__file__).parents[1]
LOCK = (TOP / "requirements.lock").read_text()


def test_the_bill_names_every_pinned_package_once_with_all_of_its_hashes():
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE)
    found = components(LOCK)
    assert len(pinned) > 30
    assert [(one["name"], one["version"]) for one in found] == pinned
    assert len({one["purl"] for one in found}) == len(found)
    digests = [one["value"] for part in found for one in part["properties"] if one["name"] == "metering:sha256"]
    assert digests == re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK)


def test_a_package_of_one_platform_says_so():
    lock = "tzdata==2026.6 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "a" * 64 + "\n"
    (found,) = components(lock)
    assert found["properties"] == [
        {"name": "metering:marker", "value": "sys_platform == 'win32'"},
        {"name": "metering:sha256", "value": "a" * 64},
    ]


def test_the_same_lock_gives_the_same_bill_and_another_gives_another():
    assert bill(LOCK, "1.0.0") == bill(LOCK, "1.0.0")
    assert bill(LOCK, "1.0.0")["serialNumber"] != bill(LOCK, "1.0.1")["serialNumber"]
    assert bill(LOCK.replace("click==", "clicks=="), "1.0.0")["serialNumber"] != bill(LOCK, "1.0.0")["serialNumber"]


def test_every_reference_in_the_bill_leads_to_a_component():
    found = json.loads(json.dumps(bill(LOCK, "1.0.0")))
    refs = {one["bom-ref"] for one in found["components"]}
    ((ours,),) = [[one for one in found["dependencies"] if one["ref"] == found["metadata"]["component"]["bom-ref"]]]
    assert set(ours["dependsOn"]) == refs
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")


@pytest.mark.parametrize(
    "name", ["README.md", "docs/operations.md", "docs/exports.md", "deploy/Dockerfile", "Makefile"]
)
def test_every_line_that_installs_the_program_checks_hashes(name):
    text = (TOP / name).read_text()
    installs = re.compile(r"(pip|\$\(INSTALL\)) (install )?.*(-r |\.$|/src|-e )")
    lines = [line for line in text.splitlines() if line[:1] != "#" and installs.search(line)]
    assert [line for line in lines if "--require-hashes" not in line and "--no-deps" not in line] == []
    assert not re.search(r"(uv tool|pipx) install", text), "these resolve anew and check no hash"


def test_the_image_is_named_by_its_digest_everywhere():
    text = (TOP / "deploy" / "Dockerfile").read_text()
    found = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(found)) == 1 and re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", found[0])
