"""Benches of the collector's side: many gateways, what they cost, what is planned for them."""
