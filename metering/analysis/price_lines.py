"""The `price` command without its streams: one JSON line in, one JSON line out, rated by rating.py's own arithmetic.

Knows the keys of a line and how to refuse a faulty one; must not know plans, projects, months or files.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn

from metering.config import parse_price
from metering.core.errors import ConfigError
from metering.core.invoice import printed
from metering.core.money import Rounding, amount_text, exact_text, minor_units, parse_decimal, quantity_text
from metering.core.plans import Price
from metering.core.values import WrittenFloat
from metering.rating.alone import Alone, alone
from metering.rating.models import billable, follows_cost
from metering.rating.step import ends, packaged
from metering.rating.validation import price_faults

KEYS = ("price", "quantity", "hourly", "used_before", "share", "currency")

Json = dict[str, object]


def rate_line(text: str, rounding: Rounding = "half_up") -> str:
    """The answer to one line of `price`, without a line feed; a faulty line gives `{"error": "…"}`."""
    try:
        answer = _rated(_document(text), rounding)
    except ConfigError as error:
        answer = {"error": "; ".join(f"price.{fault}" for fault in error.faults)}
    except RecursionError:
        answer = {"error": "is not JSON: nested too deeply"}
    except ValueError as error:
        answer = {"error": str(error)}
    # ASCII only: half a surrogate pair in a key must not break the terminal.
    return json.dumps(answer)


def is_error(answer: str) -> bool:
    """Whether an answer of `rate_line` is a refusal (the command then exits 1 at the end)."""
    return answer.startswith('{"error":')


def _document(text: str) -> Json:
    try:
        document = json.loads(
            text, parse_float=WrittenFloat, parse_constant=_no_constant, object_pairs_hook=_without_duplicates
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} (column {error.colno})") from None
    if not isinstance(document, dict):
        raise ValueError('is not a JSON object; write {"price": {…}, "quantity": "121"}')
    for key in document:
        if key not in KEYS:
            raise ValueError(f"{key!r} is not a known key; known: {', '.join(KEYS)}")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number; write numbers as strings of digits")


def _without_duplicates(pairs: list[tuple[str, object]]) -> Json:
    out: Json = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"the key {key!r} stands there twice")
        out[key] = value
    return out


def _rated(document: Json, rounding: Rounding) -> Json:
    price = _price(document.get("price"))
    currency = document.get("currency", "USD")
    if not isinstance(currency, str):
        raise ValueError('currency is not text; write it like "USD"')
    minor_units(currency)
    share = _share(document.get("share", "1"))
    after, before = _quantities(document, price)
    found = alone(price, share=share, after=after, before=before, currency=currency, mode=rounding)
    remaining = billable(price, share, after) - (billable(price, share, before) if before is not None else 0)
    return {
        "amount": amount_text(found.amount, currency),
        "exact": exact_text(found.exact),
        "billable": quantity_text(remaining),
        "lines": list(_lines(price, found, (currency, rounding), is_step=bool(before))),
    }


def _price(value: object) -> Price:
    if not isinstance(value, dict):
        raise ValueError("price is missing" if value is None else "price is not an object")
    for key in ("meter", "valid_from"):
        if key in value:
            raise ValueError(f"price.{key}: does not belong into a line; a line is one price without a date")
    price = parse_price(value)
    faults = list(price_faults(price))
    if faults:
        raise ConfigError(faults)
    if follows_cost(price):
        raise ValueError(f"price.model: {price.model} needs what Neon charges, which a line does not know")
    return price


def _quantities(document: Json, price: Price) -> tuple[Fraction, Fraction | None]:
    """The quantity and what was used before it (None: rate from nothing), hourly allowances already off."""
    if "hourly" in document:
        for key in ("quantity", "used_before"):
            if key in document:
                raise ValueError(f"{key} stands beside hourly; hourly is written instead of quantity")
        return _hourly(document["hourly"], price), None
    if price.included_per_hour is not None:
        raise ValueError("an allowance per hour needs every hour's value; write hourly instead of quantity")
    if "quantity" not in document:
        raise ValueError("quantity is missing")
    after = _number(document["quantity"], "quantity")
    if "used_before" not in document:
        return after, None
    before = _number(document["used_before"], "used_before")
    if before > after:
        raise ValueError("used_before is above quantity; quantity counts from the start")
    return after, before


def _hourly(values: object, price: Price) -> Fraction:
    if not isinstance(values, list):
        raise ValueError("hourly is not a list of numbers written as strings")
    allowance = Fraction(price.included_per_hour or 0)
    hours = (_number(value, f"hourly[{i}]") for i, value in enumerate(values))
    return sum((max(Fraction(0), hour - allowance) for hour in hours), Fraction(0))


def _number(value: object, name: str) -> Fraction:
    if not isinstance(value, str):
        raise ValueError(f'{name} is not a number written as a string, such as "121"')
    try:
        return Fraction(parse_decimal(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _share(value: object) -> Fraction:
    numbers = value.split("/") if isinstance(value, str) else []
    if len(numbers) not in (1, 2):
        raise ValueError('share is not a number written as a string, such as "0.5" or "10/31"')
    top, bottom = _number(numbers[0], "share"), _number(numbers[-1], "share") if len(numbers) == 2 else Fraction(1)
    if bottom == 0 or top > bottom:
        raise ValueError(f"share: {value!r} is not between 0 and 1")
    return top / bottom


def _lines(price: Price, found: Alone, form: tuple[str, Rounding], *, is_step: bool) -> Iterator[Json]:
    currency, _ = form
    for part, amount in zip(found.parts, found.minor, strict=True):
        yield {
            "tier": part.tier,
            **({"flat": True} if part.kind == "flat_fee" else {}),
            "quantity": quantity_text(part.quantity),
            "unit_price": _plain(part.unit_price),
            "amount": amount_text(amount, currency),
            **packaged(price, part),
            **({name: printed(end) for name, end in ends(price, part, amount, *form).items()} if is_step else {}),
        }
    if found.gap:
        kind = "minimum" if found.gap > 0 else "discount"
        amount_due = amount_text(found.gap, currency)
        yield {"kind": kind, "tier": None, "quantity": "0", "unit_price": None, "amount": amount_due}


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"
