"""The audit: the ledger held against itself, the queues, and what the provider's simulator saw."""
