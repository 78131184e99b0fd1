"""Translates the configuration of Neon's API into the settings of its client."""

from metering.config import NeonConfig
from metering.core.network import DIRECT, Network
from metering.neon.client import Settings


def client_settings(
    configured: NeonConfig,
    *,
    network: Network = DIRECT,
    most_retries: int | None = None,
) -> Settings:
    """The client's settings from the section `neon`; `most_retries` is an upper bound for its retries."""
    retries = configured.max_retries
    return Settings(
        base_url=configured.base_url,
        history_requests_per_minute=configured.history_requests_per_minute,
        requests_per_minute=configured.requests_per_minute,
        timeout_seconds=configured.timeout_seconds,
        max_retries=retries if most_retries is None else min(most_retries, retries),
        network=network,
    )
