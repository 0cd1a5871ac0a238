"""Chain adapters: everything that speaks to a node. One file per chain, and beneath it HTTP, breaker and limiter."""
