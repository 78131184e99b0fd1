"""Polars types that frames of several packages share. Pure."""

import polars as pl

UTC_MICROSECONDS = pl.Datetime("us", "UTC")


Moment = pl.Datetime("us", "UTC")


Int128 = pl.Int128()
