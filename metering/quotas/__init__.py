"""From the readings of a project to its percentage, level, forecast and crossings of thresholds.

A crossing is a value with its reason. Must not know whom it is told to.
"""

__all__ = ["evaluation", "status"]
