"""The demo: a made-up fleet, its customers and files, and a receiver of its alerts.

Runs the product from polling to invoices.
"""
