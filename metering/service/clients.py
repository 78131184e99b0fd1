"""The client of Neon as the configuration describes it."""

from metering.config import NeonConfig
from metering.core.network import DIRECT, Network
from metering.neon.client import Settings


def client_settings(
    configured: NeonConfig,
    *,
    network: Network = DIRECT,
    most_retries: int | None = None,
) -> Settings:
    """The section `neon` of the configuration as the client takes it; `most_retries` bounds its retries."""
    retries = configured.max_retries
    return Settings(
        base_url=configured.base_url,
        history_requests_per_minute=configured.history_requests_per_minute,
        requests_per_minute=configured.requests_per_minute,
        timeout_seconds=configured.timeout_seconds,
        max_retries=retries if most_retries is None else min(most_retries, retries),
        network=network,
    )
