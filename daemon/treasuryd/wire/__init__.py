"""Codecs: bytes of a chain's protocol to values and back. Pure: no I/O, no clock, no randomness."""
