"""From messages of a broker to committed rows and receipts."""

__all__ = [
    "boot_clocks",
    "event_time",
    "rows",
    "server_results",
    "spools",
    "stories",
    "taking",
    "verify",
    "workers",
]
