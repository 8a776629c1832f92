"""The pages for people, one module each."""

__all__ = [
    "account",
    "activity",
    "approvals",
    "backups",
    "centers",
    "contacts",
    "incident_files",
    "incidents",
    "keys",
    "log_in",
    "oidc",
    "people",
    "questions",
    "test_now",
]
