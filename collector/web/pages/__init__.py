"""The pages for people, one module each."""

__all__ = [
    "account",
    "activity",
    "approvals",
    "backups",
    "centers",
    "contacts",
    "keys",
    "log_in",
    "people",
    "test_now",
]
