"""Pages by which the desk says who is told: routes, escalation plans, rotas and maintenance windows; and by which
channels."""

__all__ = ["channels", "desk_clock", "routing", "windows"]
