"""Composition roots: the one place where settings meet adapters (architecture.md §2)."""

from treasuryd.main.roots import run, run_demo, run_devnet

__all__ = ["run", "run_demo", "run_devnet"]
