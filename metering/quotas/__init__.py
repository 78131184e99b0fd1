"""From the readings of a project to its percentage, level, forecast and crossings of thresholds.

A crossing is a value with its reason. Must not know who is alerted.
"""

__all__ = ["crossings", "rows", "status"]
