"""Reads config.toml into a frozen Config, or reports all its faults, each with its key.

Reads the file, the two CSV files that it names and the given environment. Must not know how a plan is rated (faults
inside a rate card come from the caller's `card_faults`), and reads no secret.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from metering.config.contradictions import KeysOf, contradictions
from metering.config.csv_rows import currency_faults, customer_rows, subscription_rows
from metering.config.dashboard import DashboardConfig
from metering.config.exports import ExportsConfig, StripeConfig
from metering.config.faults import faults_of
from metering.config.inheritance import extended_plans, is_inherited
from metering.config.layers import defaults, layered
from metering.config.models import (
    BackupConfig,
    Config,
    CustomersConfig,
    InvoicesConfig,
    NeonConfig,
    QuotaConfig,
    ScheduleConfig,
    SellerConfig,
    ServiceConfig,
    StoreConfig,
)
from metering.config.network import NetworkConfig
from metering.config.recipients import Channel, Webhook
from metering.core.errors import ConfigError, Fault
from metering.core.exhaustion import is_exhausted
from metering.core.files import database_refuses, not_utf8
from metering.core.ids import respelled, with_canonical_ids
from metering.core.meters import Meter
from metering.core.parties import Customer, Discount, Organization, Subscription
from metering.core.plans import Plan, Price
from metering.core.values import WrittenFloat, closest

CardFaults = Callable[[Config], list[Fault]]
"""Returns the faults inside plans and meters; gets only the entries that are valid on their own."""

_NO_OVERRIDES: Mapping[str, str] = {}
_SECTIONS: dict[str, type[BaseModel]] = {
    "store": StoreConfig,
    "backup": BackupConfig,
    "neon": NeonConfig,
    "network": NetworkConfig,
    "schedule": ScheduleConfig,
    "customers": CustomersConfig,
    "seller": SellerConfig,
    "invoices": InvoicesConfig,
    "quota": QuotaConfig,
    "service": ServiceConfig,
    "dashboard": DashboardConfig,
    "exports": ExportsConfig,
    "stripe": StripeConfig,
}
_LISTS: dict[str, type[BaseModel]] = {
    "organizations": Organization,
    "webhooks": Webhook,
    "channels": Channel,
    "meters": Meter,
    "plans": Plan,
    "discounts": Discount,
}


def read(
    path: Path,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] = _NO_OVERRIDES,
    card_faults: CardFaults | None = None,
    channel_keys: KeysOf | None = None,
) -> Config:
    """The configuration of a file, overridden by the environment and then by `overrides` (dotted keys).

    Raises ConfigError with all faults.
    """
    path = path.absolute()
    known = {name: Config.model_fields[name].annotation for name in (*_SECTIONS, *_LISTS)}
    layers = layered(_file_data(path), environ, overrides, known)
    faults = list(layers.faults)
    data = with_canonical_ids(layers.data)
    config, positions = _draft(path, extended_plans(data, faults), faults)
    config = config.model_copy(update={"respelled": tuple(respelled(layers.data))})
    plan_ids = _plan_ids(data)
    faults.extend(contradictions(data, plan_ids, channel_keys))
    if why := database_refuses(config.store.directory):
        faults.append(Fault(where="store.directory", what=why, right="name another directory"))
    faults.extend(_own_backup(config))
    config = _with_rows(config, data, plan_ids, faults)
    # Prices refer to meters: with a faulty meter the faults of its prices would mislead.
    if card_faults and not any(fault.where.startswith("meters") for fault in faults):
        faults.extend(_at_position(fault, positions) for fault in card_faults(config))
    faults = [fault for fault in faults if not is_inherited(fault, data)]
    if faults:
        raise ConfigError(faults)
    origins = {name: layers.origins.get(name, "default") for name in defaults(config, list(known))}
    return config.model_copy(update={"origins": origins, "reached_by": config.network.network(environ)})


def _own_backup(config: Config) -> Iterator[Fault]:
    """A backup inside the store goes with it, and the other way round."""
    store, backup = config.store.directory, config.backup.directory
    if backup and (backup.is_relative_to(store) or store.is_relative_to(backup)):
        right = "name a directory on another disk"
        yield Fault(where="backup.directory", what=f"lies with the store, {store}, in one directory", right=right)


def parse_price(values: Mapping[str, object]) -> Price:
    """One price of the `price` command, by the same rules as `[[plans.prices]]`; meter and valid_from may be absent.

    Raises ConfigError with all faults. Give the JSON reader `parse_float=WrittenFloat`, so that a float
    is quoted as it was written.
    """
    try:
        return Price.model_validate({"meter": "price", "valid_from": "1970-01-01", **values})
    except ValidationError as error:
        raise ConfigError(faults_of(error, Price, ())) from None


def _file_data(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text.replace("\r\n", "\n"), parse_float=WrittenFloat)
    except FileNotFoundError:
        fault = Fault(where=str(path), what="does not exist", right="write one with: metering init")
    except OSError as error:
        if is_exhausted(error):
            raise
        fault = Fault(where=str(path), what=f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        fault = not_utf8(str(path), error)
    except tomllib.TOMLDecodeError as error:
        # "Invalid value (at line 3, column 7)", or "(at end of document)"
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        fault = Fault(where=f"{path}, {place}", what=f"is not TOML: {what}")
    except (ValueError, RecursionError) as error:  # an integer with thousands of digits, or very deeply nested tables
        fault = Fault(where=str(path), what=f"is not TOML that can be read: {error}")
    raise ConfigError([fault], hint="metering init writes a commented config.toml" if "init" in fault.right else "")


def _plan_ids(data: Mapping[str, object]) -> set[str]:
    """The ids of all plans, including faulty ones: a reference to them is not a fault."""
    plans = data.get("plans")
    tables = [plan for plan in plans if isinstance(plan, dict)] if isinstance(plans, list) else []
    return {str(plan["id"]) for plan in tables if "id" in plan}


def _draft(path: Path, data: dict[str, object], faults: list[Fault]) -> tuple[Config, dict[str, list[int]]]:
    """The valid part of the data as a Config, and the original index of each list entry that was kept."""
    values: dict[str, object] = {}
    positions: dict[str, list[int]] = {}
    for name in data:
        if name not in _SECTIONS and name not in _LISTS:
            faults.append(Fault(where=name, what="is not a known key", right=closest(name, [*_SECTIONS, *_LISTS])))
    for name, model in _SECTIONS.items():
        section = _sound(model, data.get(name, {}), (name,), path.parent, faults)
        if section:
            values[name] = section
    for name, model in _LISTS.items():
        raw = data.get(name, [])
        if not isinstance(raw, list):
            faults.append(Fault(where=name, what="is not a list of tables", right=f"write [[{name}]] above each entry"))
            continue
        found = [(index, _sound(model, entry, (name, index), path.parent, faults)) for index, entry in enumerate(raw)]
        values[name] = tuple(entry for _, entry in found if entry)
        positions[name] = [index for index, entry in found if entry]
    return Config(path=path).model_copy(update=values), positions


def _sound(
    model: type[BaseModel], raw: object, where: tuple[str | int, ...], directory: Path, faults: list[Fault]
) -> BaseModel | None:
    """Validates one table, with relative paths resolved against the directory; None where it is faulty."""
    try:
        return _absolute(model.model_validate(raw), directory)
    except ValidationError as error:
        faults.extend(faults_of(error, model, where))
        return None


def _absolute(entry: BaseModel, directory: Path) -> BaseModel:
    """The table with its relative paths, and those of the tables in it, resolved against the directory."""
    update: dict[str, object] = {}
    for name, value in entry:
        if isinstance(value, Path):
            update[name] = directory / value
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            update[name] = tuple(_absolute(item, directory) for item in value)
    return entry.model_copy(update=update) if update else entry


def _with_rows(config: Config, data: Mapping[str, object], plan_ids: set[str], faults: list[Fault]) -> Config:
    """The configuration with the rows of its CSV files."""
    customers: list[Customer] = []
    subscriptions: list[Subscription] = []
    notes = list(config.respelled)
    customers_file, subscriptions_file = (_named_file(config, data, name) for name in ("file", "subscriptions"))
    if customers_file:
        customers, found, told = customer_rows(customers_file)
        faults.extend(found)
        notes.extend(told)
    if subscriptions_file:
        subscriptions, found, told = subscription_rows(subscriptions_file, plan_ids)
        faults.extend(found)
        notes.extend(told)
    currency_of_plan = {plan.id: plan.currency for plan in config.plans}
    faults.extend(currency_faults(customers, subscriptions, currency_of_plan))
    rows = {"customer_rows": tuple(customers), "subscription_rows": tuple(subscriptions)}
    return config.model_copy(update={**rows, "respelled": tuple(notes)})


def _named_file(config: Config, data: Mapping[str, object], name: str) -> Path | None:
    # Uses the raw data, so that a fault in another key of [customers] does not hide the faults of its files.
    table = data.get("customers")
    value = table.get(name) if isinstance(table, dict) else None
    return config.path.parent / value if isinstance(value, str) and value.strip() else None


def _at_position(fault: Fault, positions: Mapping[str, list[int]]) -> Fault:
    """The fault with its key changed from the position among the valid entries to the position in the file."""
    match = re.match(r"(\w+)\[(\d+)\]", fault.where)
    if not match or match[1] not in positions:
        return fault
    return replace(fault, where=f"{match[1]}[{positions[match[1]][int(match[2])]}]{fault.where[match.end() :]}")
