"""What programs ask for: lists as JSON and CSV, metrics for Prometheus, the description of the API."""

__all__ = ["answers", "links", "metrics", "openapi", "tables"]
