"""One database file: how it is opened, and the two ways in which a transaction runs on it."""
