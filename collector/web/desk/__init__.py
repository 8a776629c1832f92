"""Pages by which the desk says who is told: routes, escalation plans, rotas and maintenance windows."""

__all__ = ["routing", "windows"]
