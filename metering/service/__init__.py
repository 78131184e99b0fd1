"""What is due at a moment, one job after another: poll, backfill, tick, run, check.

Puts packages together. Must not compute figures.
"""

__all__ = ["backing_up", "check", "check_references", "logs", "notify", "run", "tick", "wiring"]
