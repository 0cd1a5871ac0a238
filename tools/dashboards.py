"""
Write the Grafana dashboards of monitoring/ from `tools/boards/`: `python -m tools.dashboards`.

They are checked in as Grafana reads them; a test writes them again and compares, so nobody edits the JSON.
"""

import json
from pathlib import Path
from typing import Final

from tools.boards.energy import BOARD as ENERGY
from tools.boards.overview import BOARD as OVERVIEW
from tools.boards.parts import Board, as_json
from tools.boards.receipts import BOARD as RECEIPTS
from tools.boards.treasury import BOARD as TREASURY

MONITORING: Final = Path(__file__).parent.parent / "monitoring"
BOARDS: Final = (OVERVIEW, TREASURY, ENERGY, RECEIPTS)


def text(board: Board) -> str:
    """Write a board as its file stands in the checkout."""
    return json.dumps(as_json(board), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for board in BOARDS:
        path = MONITORING / f"{board.file}.json"
        path.write_text(text(board), encoding="utf-8")
        print(f"{path.name}: {len(list(board.panels()))} panels")


if __name__ == "__main__":
    main()
