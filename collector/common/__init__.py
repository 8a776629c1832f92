"""What every room may use: settings, messages and refusals, scopes, sequence ranges, months, processes, CSV, markup,
requests."""

__all__ = [
    "config",
    "csv_rows",
    "html_words",
    "http_client",
    "messages",
    "months",
    "processes",
    "scope",
    "sequence_ranges",
]
