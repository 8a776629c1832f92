"""Months: the ledger, a center's report, its rendering, its closing and its revisions."""

__all__ = [
    "day_samples",
    "day_sheets",
    "day_store",
    "fleet",
    "integrity",
    "ledger",
    "monthly",
    "monthly_verdicts",
    "outlook",
    "pdf",
    "render",
    "revisions",
    "schedule",
]
