"""From messages of a broker to committed rows and receipts."""

__all__ = [
    "rows",
    "server_results",
    "spools",
    "stories",
    "taking",
    "times",
    "verify",
    "workers",
]
