"""From messages of a broker to committed rows and receipts."""

__all__ = ["server_results", "spools", "stories", "taking", "workers"]
