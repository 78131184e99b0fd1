"""A store that commit 4c002a7 made, before closings had `rules`: what a new version has to take over.

How `fixtures/store_of_rules_1.tar.xz` was made, with the code of that commit: `metering demo --projects 12` (September
closed on 2026-10-15: INV-2026-000001 to 7); INV-2026-000004 (cust3) voided, another street for cust3 in customers.csv,
September closed again (8); the page that read September by day landed again with twice the compute of cust1's
`misty-cell-00000721` on the 20th; October closed over its gaps (9 to 13; 9 has an adjustment of September); the same
page landed again with the 21st doubled too and `vector_index_seconds`, a metric without meter, for cust2;
INV-2026-000003 (cust2) voided and September closed once more, which parked cust2. `told/` is what that version printed.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

NOW = "2026-11-11T11:00:00Z"
_ARCHIVE = Path(__file__).parents[1] / "fixtures" / "store_of_rules_1.tar.xz"


def unpacked(directory: Path) -> Path:
    """The store in this directory, as that version left it; returns its config.toml."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    return directory / "config.toml"


def told(directory: Path, name: str) -> Any:
    """What that version printed: `invoices-2026-09`, `invoices-2026-10`, `usage-2026-09`."""
    return json.loads((directory / "told" / f"{name}.json").read_text())
