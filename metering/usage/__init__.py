"""Coverage, windows, attribution and forecast: which hours are known, which to read next, what was used in them.

Pure: frames and periods in, frames and periods out. Must not know prices, the store or Neon's API.
"""

__all__ = [
    "attribution",
    "certification",
    "coverage",
    "existence",
    "forecast",
    "known",
    "quantities",
    "units",
    "windows",
]
