"""Months: the ledger, a center's report, its rendering, closing, revisions and disputes; what inspectors saw."""

__all__ = [
    "day_samples",
    "day_sheets",
    "day_store",
    "disputes",
    "fleet",
    "inspections",
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
