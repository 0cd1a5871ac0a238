"""The machine: clocks, chance, the service manager, the state folder's lock, and the thread that ends a stuck process."""
