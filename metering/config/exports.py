"""Settings of the exports: names of accounts, taxes and products in other systems, and access to Stripe.

Must not know the exported data or the form of a file.
"""

import re
from typing import Annotated

from pydantic import BaseModel, PlainValidator

from metering.config.patterns import BaseUrl
from metering.core.values import EnvironmentName, FilePath, Text, one_line, refuse, shown

_ACCOUNT = re.compile(r"[A-Z][A-Za-z0-9-]*(:[A-Z0-9][A-Za-z0-9-]*)+")


def _account(value: object) -> str:
    text = one_line(value)
    if not _ACCOUNT.fullmatch(text):
        refuse(f"is {shown(value)}, no account name", "write it like Assets:Receivable")
    return text


Account = Annotated[str, PlainValidator(_account)]


class ExportsConfig(BaseModel, frozen=True, extra="forbid"):
    """Names in other systems: the service in FOCUS, codes in Xero and QuickBooks, accounts of a plain-text journal."""

    service_name: Text = "Postgres"
    xero_account_code: Text = "200"
    xero_tax_type: Text = "Tax on Sales"
    xero_no_tax_type: Text = "Tax Exempt"
    quickbooks_item: Text = "Sales"
    quickbooks_tax_code: Text = "TAX"
    quickbooks_no_tax_code: Text = "NON"
    receivable_account: Account = "Assets:Receivable"
    revenue_account: Account = "Income:Sales"
    tax_account: Account = "Liabilities:Tax"


class StripeConfig(BaseModel, frozen=True, extra="forbid"):
    """Access to Stripe; the secret is needed only when something is sent."""

    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    base_url: BaseUrl = "https://api.stripe.com"
