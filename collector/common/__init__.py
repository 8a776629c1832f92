"""What every room may use: messages and refusals, scopes, sequence ranges, processes, CSV, markup, requests."""

__all__ = ["csv_rows", "html_words", "http_client", "messages", "processes", "scope", "sequence_ranges"]
