"""When what is measured: rounds, the UPS watch, slots of speed tests."""

__all__ = ["rounds", "speed_plan", "speed_rounds"]
