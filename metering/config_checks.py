"""Which settings contradict each other or break a rule that one value alone does not show.

Pure: a Config in, faults out. Must not know files or layers.
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise

from pydantic_core import PydanticCustomError

from metering.config_models import EVENTS, Config, Organization, Webhook
from metering.config_values import closest, is_loopback, url_parts
from metering.errors import Fault

_NUMBER_SPEC = re.compile(r"(0?[1-9][0-9]?)?d?")


def contradictions(config: Config, positions: Mapping[str, list[int]], plan_ids: set[str]) -> Iterator[Fault]:
    """All faults between settings. `positions` says where each list entry stands in the file."""
    yield from _base_url_faults(config.neon.base_url)
    yield from _pattern_faults(config.customers.project_name_pattern)
    yield from _number_faults(config.invoices.number)
    yield from _threshold_faults(config.quota.thresholds_percent)
    for index, organization in zip(positions.get("organizations", []), config.organizations, strict=True):
        yield from _organization_faults(f"organizations[{index}]", organization, plan_ids)
    for index, webhook in zip(positions.get("webhooks", []), config.webhooks, strict=True):
        yield from _webhook_faults(f"webhooks[{index}]", webhook)
    for index, meter in zip(positions.get("meters", []), config.meters, strict=True):
        yield from twice([{"metric": metric} for metric in meter.metrics], f"meters[{index}].metrics", "metric")
        starts = [{"valid_from": divisor.valid_from} for divisor in meter.divisors]
        yield from twice(starts, f"meters[{index}].divisors", "valid_from")


def twice(entries: Iterable[Mapping[str, object]], name: str, attribute: str) -> Iterator[Fault]:
    """Entries of a list that give a key the same value as an entry before them."""
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if attribute in entry:
            value = str(entry[attribute])
            if first.setdefault(value, index) != index:
                what = f"{value!r} stands at {name}[{first[value]}] already"
                yield Fault(where=f"{name}[{index}].{attribute}", what=what, right="keep one of the two")


def _base_url_faults(base_url: str) -> Iterator[Fault]:
    try:
        parts = url_parts(base_url)
    except PydanticCustomError as error:
        yield _address_fault("neon.base_url", error)
        return
    if parts.query:
        yield Fault(where="neon.base_url", what="has a query", right="leave out the ? and what follows")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        right = "write https://; http:// is for a sandbox on this machine"
        yield Fault(where="neon.base_url", what="would send the key in the clear", right=right)


def _address_fault(where: str, error: PydanticCustomError) -> Fault:
    context = error.context or {}
    return Fault(where=where, what=str(context["what"]), right=str(context["right"]))


def _pattern_faults(pattern: str | None) -> Iterator[Fault]:
    where = "customers.project_name_pattern"
    if pattern is None:
        return
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        yield Fault(where=where, what=f"is not a regular expression: {error}", right="write it in 'single quotes'")
        return
    for group in ("customer", "plan"):
        if group not in compiled.groupindex:
            yield Fault(where=where, what=f"has no group {group}", right=f"write (?P<{group}>…) around that part")


def _number_faults(number: str) -> Iterator[Fault]:
    where, right = "invoices.number", 'write it like "INV-{year}-{number:06d}"'
    try:
        fields = [part[1:] for part in string.Formatter().parse(number) if part[1] is not None]
    except ValueError as error:
        yield Fault(where=where, what=f"is not a pattern: {error}", right=right)
        return
    for name, spec, conversion in fields:
        if name not in {"year", "number"}:
            yield Fault(where=where, what=f"{{{name}}} is unknown", right="only {year} and {number} can be filled in")
        elif conversion or not _NUMBER_SPEC.fullmatch(spec or ""):
            yield Fault(
                where=where, what=f"{{{name}:{spec}}} cannot be filled in", right="write digits as in {number:06d}"
            )
    for name in ("year", "number"):
        if [field[0] for field in fields].count(name) != 1:
            yield Fault(where=where, what=f"must hold {{{name}}} once, or two invoices share a number", right=right)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.sub(r"\{[^{}]*\}", "0", number)):
        yield Fault(where=where, what="makes no file name", right="use letters, digits, dots, dashes and underscores")
    if number.startswith("CN-"):
        yield Fault(where=where, what="looks like a credit note's number", right="begin with something else than CN-")


def _threshold_faults(thresholds: tuple[int, ...]) -> Iterator[Fault]:
    if any(first >= second for first, second in pairwise(thresholds)):
        right = f"write {sorted(set(thresholds))}"
        yield Fault(where="quota.thresholds_percent", what=f"{list(thresholds)} does not ascend", right=right)


def _organization_faults(where: str, organization: Organization, plan_ids: set[str]) -> Iterator[Fault]:
    given = [name for name in ("api_key_env", "api_key_file") if getattr(organization, name) is not None]
    if len(given) != 1:
        what = "is missing" if not given else "and api_key_file are both given"
        yield Fault(where=f"{where}.api_key_env", what=what, right="give either api_key_env or api_key_file")
    plan = organization.default_plan
    if plan is not None and plan not in plan_ids:
        yield Fault(where=f"{where}.default_plan", what=f"there is no plan {plan!r}", right=closest(plan, plan_ids))


def _webhook_faults(where: str, webhook: Webhook) -> Iterator[Fault]:
    if (webhook.secret_env is None) == (webhook.secret_file is None):
        what = "is missing" if webhook.secret_env is None else "and secret_file are both given"
        yield Fault(where=f"{where}.secret_env", what=what, right="give either secret_env or secret_file")
    try:
        if url_parts(webhook.url).scheme == "http" and not webhook.allow_private_network:
            right = "write https://, or allow_private_network = true for a receiver of your own"
            yield Fault(where=f"{where}.url", what="is not encrypted", right=right)
    except PydanticCustomError as error:
        yield _address_fault(f"{where}.url", error)
    for index, pattern in enumerate(webhook.events):
        if not any(fnmatchcase(event, pattern) for event in EVENTS):
            what = f"{pattern!r} names no event"
            yield Fault(where=f"{where}.events[{index}]", what=what, right=closest(pattern, [*EVENTS, "quota.*"]))
