"""What benches stand on: the server side in processes of its own, brokers beside it, gateways that come back."""
