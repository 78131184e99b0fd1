"""The settings: their names, their defaults, and what each value may be on its own.

Frozen models that plans, prices and the rest travel in through the whole program. Must not know files, layers or which
values contradict each other.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from metering.config_dashboard import DashboardConfig
from metering.config_exports import ExportsConfig, StripeConfig
from metering.config_patterns import (
    BaseUrl,
    ChannelUrl,
    EventPattern,
    ListenAddress,
    MailAddress,
    NamePattern,
    NumberPattern,
    QuotaName,
    Thresholds,
    WebhookUrl,
)
from metering.config_rows import Customer, Subscription
from metering.config_values import (
    Count,
    Currency,
    EnvironmentName,
    FilePath,
    Flag,
    FreeText,
    Id,
    Identifier,
    LocaleName,
    Markup,
    Moment,
    MonthName,
    MonthStart,
    NotNegative,
    Percent,
    Positive,
    Some,
    Text,
    Whole,
    named,
)
from metering.errors import Fault


class StoreConfig(BaseModel, frozen=True, extra="forbid"):
    """Where store, journal and reports live (absolute once read), and how long raw pages stay; 0: for ever."""

    directory: FilePath = Path("var")
    keep_pages_days: Annotated[Whole, Field(ge=0, le=36_500)] = 400


class NeonConfig(BaseModel, frozen=True, extra="forbid"):
    """How Neon's API is reached. Rates are per account and minute, the timeout counts a whole request."""

    base_url: BaseUrl = "https://console.neon.tech/api/v2"
    history_requests_per_minute: Annotated[Whole, Field(ge=1, le=60_000)] = 30
    requests_per_minute: Annotated[Whole, Field(ge=1, le=60_000)] = 300
    timeout_seconds: Annotated[Whole, Field(ge=1, le=600)] = 30
    max_retries: Annotated[Whole, Field(ge=0, le=100)] = 6


class Organization(BaseModel, frozen=True, extra="forbid"):
    """An organization of Neon's. Organizations of one `account` share a rate limit."""

    id: Identifier
    api_key_env: EnvironmentName | None = None
    api_key_file: FilePath | None = None
    plan: Text | None = None
    sponsored: Flag = False
    default_plan: Identifier | None = None
    account: Text = "main"
    history: Literal["v2", "legacy"] = "v2"


class ScheduleConfig(BaseModel, frozen=True, extra="forbid"):
    """When polls and closes are due, how far back and how often projects are read; `close_day` 0: by hand only.

    `first_month` is the first month that may close by itself; None: it follows from the store's first complete poll.
    """

    poll_minutes: Annotated[Whole, Field(ge=1, le=1440)] = 15
    sweep_hours: Annotated[Whole, Field(ge=1, le=72)] = 6
    reread_hours: Annotated[Whole, Field(ge=2, le=160)] = 24
    settle_hours: Annotated[Whole, Field(ge=1, le=8784)] = 36
    close_day: Annotated[Whole, Field(ge=0, le=28)] = 3
    first_month: MonthName | None = None


class CustomersConfig(BaseModel, frozen=True, extra="forbid"):
    """Who pays for which project (paths absolute once read)."""

    file: FilePath | None = None
    subscriptions: FilePath | None = None
    project_name_pattern: NamePattern | None = None


class SellerConfig(BaseModel, frozen=True, extra="forbid"):
    """Who issues the invoices."""

    name: FreeText = ""
    address: FreeText = ""
    country: FreeText = ""
    tax_id: FreeText = ""
    street: FreeText = ""
    city: FreeText = ""
    postcode: FreeText = ""
    email: FreeText = ""


class InvoicesConfig(BaseModel, frozen=True, extra="forbid"):
    """How invoices are numbered, rounded and printed; `locale` is of customers without one, `fonts` more for PDF."""

    number: NumberPattern = "INV-{year}-{number:06d}"
    rounding: Literal["half_up", "half_even"] = "half_up"
    prorate: Literal["second", "day", "none"] = "second"
    due_days: Annotated[Whole, Field(ge=0, le=3650)] = 30
    locale: LocaleName = "en"
    fonts: FilePath | None = None


class QuotaConfig(BaseModel, frozen=True, extra="forbid"):
    """At which percentages of a quota somebody is told; 100 always counts beside them."""

    thresholds_percent: Thresholds = (80, 95)


class ServiceConfig(BaseModel, frozen=True, extra="forbid"):
    """What `run` shows of itself: where it listens ("": nowhere), and whom ticks tell that they went well."""

    listen: ListenAddress = "127.0.0.1:9187"
    allow_remote: Flag = False
    ping_url_env: EnvironmentName | None = None


class Webhook(BaseModel, frozen=True, extra="forbid"):
    """An endpoint that alerts are sent to; `events` are names or patterns such as `quota.*`."""

    url: WebhookUrl
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    events: Some[EventPattern] = ("*",)
    allow_private_network: Flag = False

    @property
    def endpoint(self) -> str:
        """What it is called in the ledger."""
        return self.url


class Channel(BaseModel, frozen=True, extra="forbid"):
    """A person or a program that alerts reach otherwise than by a webhook.

    The secret is what its kind asks for: Slack's URL, PagerDuty's routing key, a mailbox's password, a bearer token.
    """

    name: Identifier
    kind: Literal["slack", "pagerduty", "email", "alertmanager"]
    url: ChannelUrl | None = None
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    user: Text | None = None
    sender: MailAddress | None = None
    to: tuple[MailAddress, ...] = ()
    events: Some[EventPattern] = ("*",)
    allow_private_network: Flag = False

    @property
    def endpoint(self) -> str:
        """What it is called in the ledger: never its address, which may be a secret."""
        return f"{self.kind}:{self.name}"


class Divisor(BaseModel, frozen=True, extra="forbid"):
    """What turns a metric's raw unit into the meter's unit, for pages read from a moment on."""

    valid_from: Moment
    divisor: Positive


class Meter(BaseModel, frozen=True, extra="forbid"):
    """A billable thing: the sum of some of Neon's metrics, in a unit."""

    id: Identifier
    metrics: Some[Identifier]
    unit: Text
    divisors: Some[Divisor]


class Tier(BaseModel, frozen=True, extra="forbid"):
    """A band of the quantity after the allowance, up to and including `up_to`; without it, endless."""

    up_to: Positive | None = None
    unit_price: NotNegative
    flat_fee: NotNegative = Decimal(0)


class Price(BaseModel, frozen=True, extra="forbid"):
    """What one meter costs from a date on; amounts in the plan's currency, quantities in the meter's unit."""

    meter: Identifier
    valid_from: Moment
    model: Literal["per_unit", "graduated", "volume", "package", "cost_plus"]
    scope: Literal["project", "customer"] = "project"
    included: NotNegative = Decimal(0)
    included_per_hour: NotNegative | None = None
    tiers: tuple[Tier, ...] = ()
    unit_price: NotNegative | None = None
    package_size: Positive | None = None
    package_price: NotNegative | None = None
    markup_percent: Markup | None = None
    minimum: NotNegative | None = None
    maximum: NotNegative | None = None
    flat_fee_at_zero: Flag = False


class Plan(BaseModel, frozen=True, extra="forbid"):
    """An offer: prices and quotas in one currency. Fees are per month; `minimum` is per customer and month.

    What a plan `extends` is part of it once read (config_plans.py). `example`: its prices are those that `init` wrote,
    so no month that uses it closes.
    """

    id: Identifier
    name: Text
    currency: Currency
    base_fee: NotNegative = Decimal(0)
    base_fee_scope: Literal["project", "customer"] = "project"
    minimum: NotNegative = Decimal(0)
    example: Flag = False
    quota: dict[QuotaName, Count] = {}
    prices: tuple[Price, ...] = ()

    _named = model_validator(mode="before")(named)


class Discount(BaseModel, frozen=True, extra="forbid"):
    """What a customer gets off whole months: a percentage of what earlier discounts left, or an amount."""

    customer: Id
    name: Text | None = None
    percent: Percent | None = None
    amount: Positive | None = None
    valid_from: MonthStart | None = None
    valid_to: MonthStart | None = None


class Config(BaseModel, frozen=True, extra="forbid"):
    """Everything the user decided. Paths are absolute; `origins` says where each value came from, by its key."""

    path: Path
    store: StoreConfig = StoreConfig()
    neon: NeonConfig = NeonConfig()
    organizations: tuple[Organization, ...] = ()
    schedule: ScheduleConfig = ScheduleConfig()
    customers: CustomersConfig = CustomersConfig()
    seller: SellerConfig = SellerConfig()
    invoices: InvoicesConfig = InvoicesConfig()
    quota: QuotaConfig = QuotaConfig()
    service: ServiceConfig = ServiceConfig()
    dashboard: DashboardConfig = DashboardConfig()
    exports: ExportsConfig = ExportsConfig()
    stripe: StripeConfig = StripeConfig()
    webhooks: tuple[Webhook, ...] = ()
    channels: tuple[Channel, ...] = ()
    meters: tuple[Meter, ...] = ()
    plans: tuple[Plan, ...] = ()
    discounts: tuple[Discount, ...] = ()
    customer_rows: tuple[Customer, ...] = ()
    subscription_rows: tuple[Subscription, ...] = ()
    respelled: tuple[Fault, ...] = ()
    """Ids that are written otherwise than they are read."""
    origins: dict[str, str] = {}

    @property
    def endpoints(self) -> tuple[Webhook | Channel, ...]:
        """Everybody who may be told of events."""
        return (*self.webhooks, *self.channels)
