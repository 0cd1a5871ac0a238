"""The HTTP side: health, metrics, REST and JSON-RPC on the executor's own loop. It translates; `commands/` decides."""
