"""What people may ask for: one function per command or question, the same for REST, JSON-RPC and the command line."""
