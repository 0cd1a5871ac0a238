"""The chain observer: an optional task that reads the node's markets and metrics for the dashboards, and nothing else."""
