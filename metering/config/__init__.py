"""Reads config.toml, its CSV files and the environment into one frozen value, and reports all faults at once.

Knows what a setting may be. Must not know what is done with it.
"""

from metering.config.csv_file import csv_records
from metering.config.csv_rows import subscription_rows
from metering.config.exports import ExportsConfig
from metering.config.faults import faults_of
from metering.config.inheritance import extended_plans
from metering.config.models import Config, NeonConfig, ScheduleConfig, SellerConfig
from metering.config.reading import parse_price, read
from metering.config.recipients import Channel, ChannelKeys, Webhook
from metering.config.starter import write_starter

__all__ = [
    "Channel",
    "ChannelKeys",
    "Config",
    "ExportsConfig",
    "NeonConfig",
    "ScheduleConfig",
    "SellerConfig",
    "Webhook",
    "csv_records",
    "extended_plans",
    "faults_of",
    "parse_price",
    "read",
    "subscription_rows",
    "write_starter",
]
