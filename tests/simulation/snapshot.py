"""A whole machine as it was at one moment: the store, the signer's ledger and the journal's copy (protocol.md §8, §9)."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.history import History


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every memory of one machine, copied in one step of the world; of what was sent nothing else knows."""

    store: sqlite3.Connection
    ledger: sqlite3.Connection
    journal: Mapping[str, bytes]  # by file name

    @classmethod
    def of(cls, history: "History") -> "Snapshot":
        """Copy all three."""
        return cls(
            store=history.store_disk.backup(),
            ledger=history.ledger_disk.backup(),
            journal={path.name: path.read_bytes() for path in _files(history.journal_folder)},
        )

    def put_back(self, history: "History") -> None:
        """Put all three in the place of what is there; nothing may run."""
        history.store_disk.restore(self.store)
        history.ledger_disk.restore(self.ledger)
        for path in _files(history.journal_folder):
            path.unlink()
        for name, content in self.journal.items():
            assert history.journal_folder is not None
            (history.journal_folder / name).write_bytes(content)


def _files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(path for path in folder.iterdir() if path.is_file())
