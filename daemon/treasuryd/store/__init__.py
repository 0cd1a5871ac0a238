"""What we intend and what came of it, durable: the Store and Desk ports over SQLite."""
