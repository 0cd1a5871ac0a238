"""The signer: keys, its own policy, and a memory of everything it ever signed (protocol.md R11)."""
