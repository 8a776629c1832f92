"""Months at risk: what centers miss by the month's end if they go on as in their last days, and the incident of it."""

__all__ = ["follow", "rows"]
