"""Speed tests: requests, places, the tasks that admit a gateway; the measurement server."""

__all__ = [
    "drawn",
    "fetches",
    "measure",
    "policy",
    "requests",
    "scheduler",
    "servers",
    "signed_records",
    "unused_tests",
]
