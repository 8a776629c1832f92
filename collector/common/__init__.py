"""What every room may use: messages and refusals, scopes, runs of sequence numbers, processes, CSV, markup."""

__all__ = ["csv_rows", "html_words", "messages", "processes", "scope", "sequence_ranges"]
