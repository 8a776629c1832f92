"""What people decide, carried out whole: the record, the log of acts, the revisions that follow, and the messages to
whom it concerns."""

__all__ = [
    "adoption",
    "channels",
    "disputes",
    "inspections",
    "notices",
    "person",
    "register",
    "restored",
    "routing",
    "stories",
    "windows",
]
