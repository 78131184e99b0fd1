"""What every package shares: errors, periods, money, meters, plans, parties, quotas, values, texts and files.

The modules are the face. Imports no other package of ours: knows no Neon API, no store, no invoice.
"""
