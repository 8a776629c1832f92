"""What programs ask for: lists as JSON and CSV, metrics for Prometheus, the API described; pages behind links."""

__all__ = ["answers", "install", "links", "metrics", "openapi", "tables"]
