"""The pages and the API: who may come in, what they see, and what moves while they look."""

__all__ = ["app", "health", "live"]
