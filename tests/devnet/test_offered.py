from pathlib import Path

import orjson
from tests.devnet.test_node import ask, node_of
from tests.devnet.world import signed

from treasuryd.devnet.offered import OfferedFile


def test_every_offer_is_written_whatever_the_answer(tmp_path: Path) -> None:
    """An accepted one, its repetition, a refused one: three lines, and the repetition has the same bytes."""
    node, path = node_of(), tmp_path / "deep" / "offered.jsonl"
    node.told = OfferedFile(path)
    for nonce, replay in ((1, 1), (1, 2), (9, 3)):
        ask(node, "submit_tx", tx=signed(nonce=nonce).hex(), nonce=replay)
    first, again, gap = map(orjson.loads, path.read_bytes().splitlines())
    assert (first["from"], first["nonce"], first["to"], first["amount"]) == ("treasury", 1, "tb1dest", 1000)
    assert again == first
    assert (gap["nonce"], gap["bytes"] == first["bytes"]) == (9, False)
    assert not first["probe"]


def test_a_file_is_continued_by_the_next_node(tmp_path: Path) -> None:
    """A killed and restarted chain forgets nothing of what it was offered."""
    path = tmp_path / "offered.jsonl"
    for replay in (1, 2):
        node = node_of()
        node.told = OfferedFile(path)
        ask(node, "submit_tx", tx=signed().hex(), nonce=replay)
        node.told.close()
    assert len(path.read_bytes().splitlines()) == 2
