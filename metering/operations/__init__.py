"""Keeps an installation healthy: verify, rebuild, retention, schedule, status, metrics.

Must not know prices; what it verifies, it recomputes with the packages below.
"""

__all__ = ["metrics", "month_states", "rebuild", "retention", "schedule", "status", "verify"]
