"""Months: the ledger, a center's report, its rendering, its closing and its revisions."""

__all__ = ["day_store", "monthly", "render", "revisions", "schedule"]
