"""What every room may use: settings, messages and refusals, files that people give, scopes, groups of centers,
sequence ranges, months, processes, CSV, markup, requests."""

__all__ = [
    "attachments",
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
