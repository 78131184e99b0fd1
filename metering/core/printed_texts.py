"""The types of texts in printed documents, as the description of the JSON API names them.

Data. They check nothing: a document that is read keeps whatever text it has.
"""

from typing import Annotated

from msgspec import Meta

Figure = Annotated[str, Meta(description="A decimal string.", extra_json_schema={"pattern": r"^-?[0-9]+(\.[0-9]+)?$"})]
"""Money, a quantity or a count as a decimal text."""
Stamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A moment by RFC 3339."""
CurrencyCode = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Z]{3}$"})]
"""A currency by ISO 4217."""
InvoiceStatus = Annotated[str, Meta(extra_json_schema={"enum": ["draft", "final", "void"]})]
"""What an invoice is at the moment."""
QuotaLevel = Annotated[
    str, Meta(extra_json_schema={"enum": ["ok", "warning", "critical", "exceeded", "unknown", "unlimited"]})
]
"""How near a quota is to its limit."""
