"""What every room may use: settings, messages and refusals, scopes, groups of centers, sequence ranges, months,
processes, CSV, markup, requests."""

__all__ = [
    "config",
    "csv_rows",
    "groups",
    "html_words",
    "http_client",
    "messages",
    "months",
    "processes",
    "scope",
    "sequence_ranges",
]
