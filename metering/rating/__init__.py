"""From quantities and dated prices to exact charges: subscription periods, price models, pools, unbilled value.

Pure arithmetic on integers and fractions. Must not know invoices, the store or Neon.
"""

__all__ = [
    "alone",
    "bounds",
    "card",
    "charges",
    "columns",
    "exact",
    "models",
    "pieces",
    "pools",
    "segments",
    "step",
    "unbilled",
    "validation",
]
