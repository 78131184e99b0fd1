"""The settings: names, defaults, and the valid values of each.

Frozen models that the whole program uses. Must not know files, layers or which values contradict each other.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, InstanceOf

from metering.config.dashboard import DashboardConfig
from metering.config.exports import ExportsConfig, StripeConfig
from metering.config.kept_files import kept_files
from metering.config.network import NetworkConfig
from metering.config.patterns import BaseUrl, ListenAddress, NamePattern, NumberPattern, Thresholds
from metering.config.recipients import Channel, Webhook
from metering.core.addresses import is_loopback, listen_parts
from metering.core.errors import Fault
from metering.core.meters import Meter
from metering.core.network import DIRECT, Network
from metering.core.parties import Customer, Discount, Organization, Subscription
from metering.core.plans import Plan, Prorate
from metering.core.values import EnvironmentName, FilePath, Flag, FreeText, LocaleName, MonthName, Whole


class StoreConfig(BaseModel, frozen=True, extra="forbid"):
    """Where store, journal and reports live (absolute once read), and how long raw pages stay; 0: for ever.

    `witness` is a file on another disk that tells this store from a copy of it.
    """

    directory: FilePath = Path("var")
    witness: FilePath | None = None
    keep_pages_days: Annotated[Whole, Field(ge=0, le=36_500)] = 400


class NeonConfig(BaseModel, frozen=True, extra="forbid"):
    """Access to Neon's API. Rates are per account and minute; the timeout is for a whole request."""

    base_url: BaseUrl = "https://console.neon.tech/api/v2"
    history_requests_per_minute: Annotated[Whole, Field(ge=1, le=60_000)] = 30
    requests_per_minute: Annotated[Whole, Field(ge=1, le=60_000)] = 300
    timeout_seconds: Annotated[Whole, Field(ge=1, le=600)] = 30
    max_retries: Annotated[Whole, Field(ge=0, le=100)] = 6


class ScheduleConfig(BaseModel, frozen=True, extra="forbid"):
    """When polls and closes are due, how far back and how often projects are read. `close_day` 0: by hand only.

    `first_month`: the first month that may close automatically (None: derived from the store's first complete poll).
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
    """How invoices are numbered, rounded and printed. `locale`: of customers without one. `fonts`: more for PDF."""

    number: NumberPattern = "INV-{year}-{number:06d}"
    rounding: Literal["half_up", "half_even"] = "half_up"
    prorate: Prorate = "second"
    due_days: Annotated[Whole, Field(ge=0, le=3650)] = 30
    locale: LocaleName = "en"
    fonts: FilePath | None = None


class QuotaConfig(BaseModel, frozen=True, extra="forbid"):
    """The percentages of a quota that raise an alert; 100 is always one of them."""

    thresholds_percent: Thresholds = (80, 95)


class ServiceConfig(BaseModel, frozen=True, extra="forbid"):
    """Where `run` listens ("": nowhere), and the URL that is requested after each complete tick."""

    listen: ListenAddress = "127.0.0.1:9187"
    allow_remote: Flag = False
    ping_url_env: EnvironmentName | None = None


class BackupConfig(BaseModel, frozen=True, extra="forbid"):
    """The directory on another disk that each writing command keeps up to date (absolute once read)."""

    directory: FilePath | None = None


class Config(BaseModel, frozen=True, extra="forbid"):
    """All settings. Paths are absolute; `origins` maps each key to the source of its value."""

    path: Path
    store: StoreConfig = StoreConfig()
    backup: BackupConfig = BackupConfig()
    neon: NeonConfig = NeonConfig()
    network: NetworkConfig = NetworkConfig()
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
    """Notes on ids that are read in another spelling than they are written."""
    origins: dict[str, str] = {}
    reached_by: InstanceOf[Network] = DIRECT
    """`network` with what the environment says of authorities and the proxy."""

    @property
    def open_to_others(self) -> Fault | None:
        """What is wrong where other machines can reach the dashboard and nobody is asked who they are."""
        host = listen_parts(self.service.listen)[0] if self.service.listen else "localhost"
        if is_loopback(host) or self.dashboard.asks_who:
            return None
        right = "give token_env, token_file or trusted_proxies, or listen on 127.0.0.1"
        return Fault(where="dashboard.token_env", what="is missing: others could look", right=right)

    @property
    def kept_files(self) -> dict[str, Path]:
        """Name -> path of config.toml and the files that it names, without secrets."""
        return kept_files(self, self.path, {"store", "backup"})

    @property
    def endpoints(self) -> tuple[Webhook | Channel, ...]:
        """All webhooks and channels."""
        return (*self.webhooks, *self.channels)
