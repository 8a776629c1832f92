"""Months: the ledger, a center's report, its rendering, closing, revisions and disputes; what inspectors
saw; and `audit`, which derives a month anew from the signed bytes."""

__all__ = [
    "audit",
    "day_store",
    "disputes",
    "fleet",
    "inspections",
    "integrity",
    "monthly",
    "outlook",
    "pdf",
    "render",
    "revisions",
    "schedule",
]
