"""The pure ring: every decision about money, as functions from values to values."""
