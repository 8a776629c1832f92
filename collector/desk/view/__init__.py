"""What people are shown of incidents: lists and one of them whole, whom to call, and how long they waited."""

__all__ = ["contacts", "desk_clock", "queries"]
