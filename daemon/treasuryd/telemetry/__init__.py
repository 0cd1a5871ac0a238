"""What people and dashboards see: one event becomes one log line and what it adds to the metrics."""
