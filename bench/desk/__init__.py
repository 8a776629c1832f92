"""Benches of the desk: whether incidents are the true causes, and what grouping them costs."""
