"""Writes the bill of materials of a release: what requirements.lock installs, as CycloneDX 1.6 in JSON.

    python deploy/sbom.py > dist/metering.cdx.json

The same lock file and version give the same bytes: no time is in it, and the serial number comes from the content.
Licenses are those that installed packages declare, so run it where the lock file was installed (`make release` does).
"""

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\]+?))?\s*\\?$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Json = dict[str, Any]


def components(lock: str) -> list[Json]:
    """One component per pinned line; each accepted file's SHA-256 is a property, the platform's condition too."""
    found: list[Json] = []
    for line in lock.splitlines():
        if pinned := PINNED.match(line):
            name, version, marker = pinned.groups()
            found.append(component(name, version))
            if marker:
                found[-1]["properties"].append({"name": "metering:marker", "value": marker})
        elif digest := HASH.search(line):
            found[-1]["properties"].append({"name": "metering:sha256", "value": digest[1]})
    return found


def component(name: str, version: str) -> Json:
    """A package by its purl, with the license that it declares if it is installed."""
    purl = f"pkg:pypi/{name.lower()}@{version}"
    out: Json = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    try:
        declared = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        declared = None
    if declared is not None and (expression := declared.get("License-Expression")):
        out["licenses"] = [{"expression": expression}]
    return {**out, "properties": []}


def bill(lock: str, version: str) -> Json:
    """The whole document."""
    parts = components(lock)
    ours = {**component("metering", version), "type": "application", "licenses": [{"expression": "Apache-2.0"}]}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([ours, parts], sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": ours},
        "components": parts,
        "dependencies": [{"ref": ours["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def main() -> None:
    """Prints the bill of this checkout."""
    (version,) = re.findall(r'^__version__ = "(.+)"$', (TOP / "metering" / "__init__.py").read_text(), re.MULTILINE)
    lock = (TOP / "requirements.lock").read_text()
    sys.stdout.write(json.dumps(bill(lock, version), indent=2) + "\n")


if __name__ == "__main__":
    main()
