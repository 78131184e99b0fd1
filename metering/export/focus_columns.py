"""The columns of a FOCUS file, as data: all of 1.2, those that 1.3 and 1.4 add to Cost and Usage, and ours (`x_…`).

Every column is in every file, null where it does not apply: a reader need not ask which version wrote it.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from metering.core.errors import ExactnessError
from metering.export import csv_file

Row = Mapping[str, str | None]

TEXT, NUMBER, TIME = "text", "number", "time"
PLACES = 18
"""Numbers are decimal(38, 18) in Parquet: a quantity has up to 12 places, a price may have six more."""

_V1_2 = """
AvailabilityZone BilledCost:n BillingAccountId BillingAccountName BillingAccountType BillingCurrency BillingPeriodEnd:t
BillingPeriodStart:t CapacityReservationId CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription
ChargeFrequency ChargePeriodEnd:t ChargePeriodStart:t CommitmentDiscountCategory CommitmentDiscountId
CommitmentDiscountName CommitmentDiscountQuantity:n CommitmentDiscountStatus CommitmentDiscountType
CommitmentDiscountUnit ConsumedQuantity:n ConsumedUnit ContractedCost:n ContractedUnitPrice:n EffectiveCost:n InvoiceId
InvoiceIssuerName ListCost:n ListUnitPrice:n PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice:n
PricingCurrencyEffectiveCost:n PricingCurrencyListUnitPrice:n PricingQuantity:n PricingUnit ProviderName PublisherName
RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter
SkuPriceDetails SkuPriceId SubAccountId SubAccountName SubAccountType Tags
"""
_V1_3 = """
AllocatedMethodDetails AllocatedMethodId AllocatedResourceId AllocatedResourceName AllocatedTags ContractApplied
HostProviderName ServiceProviderName
"""
_V1_4 = "CommitmentProgramEligibilityDetails InvoiceDetailId"
_OURS = "x_DocumentKind x_Status x_Customer x_Plan x_LineKind x_Grain"
_KINDS = {"": TEXT, "n": NUMBER, "t": TIME}

COLUMNS: dict[str, str] = {
    name: _KINDS[mark]
    for name, _, mark in (column.partition(":") for column in f"{_V1_2} {_V1_3} {_V1_4} {_OURS}".split())
}
"""Column -> `text`, `number` or `time`, in the file's order."""


def csv_text(rows: Iterable[Row]) -> str:
    """The rows as CSV."""
    return csv_file.file(
        tuple(COLUMNS), (tuple(_cell(row.get(name), kind) for name, kind in COLUMNS.items()) for row in rows)
    )


def _cell(value: str | None, kind: str) -> str | None:
    return csv_file.text(value) if kind == TEXT else value


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file with typed columns. Raises ExactnessError for a number that does not fit."""
    series = [_series(name, kind, [row.get(name) for row in rows]) for name, kind in COLUMNS.items()]
    buffer = io.BytesIO()
    pl.DataFrame(series).write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def _series(name: str, kind: str, values: list[str | None]) -> pl.Series:
    if kind == TEXT:
        return pl.Series(name, [csv_file.plain(value) for value in values], dtype=pl.String)
    if kind == TIME:
        times = [value and datetime.fromisoformat(value).astimezone(UTC) for value in values]
        return pl.Series(name, times, dtype=pl.Datetime("us", "UTC"))
    numbers = [None if value is None else Decimal(value) for value in values]
    for number in numbers:
        if number is not None and not fits(number):
            raise ExactnessError(f"{name} {number:f} does not fit decimal(38, {PLACES})", hint="export it as CSV")
    return pl.Series(name, numbers, dtype=pl.Decimal(38, PLACES))


def fits(number: Decimal) -> bool:
    """Whether Parquet's columns hold the number with all its digits."""
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and -exponent <= PLACES and number.adjusted() < 38 - PLACES
