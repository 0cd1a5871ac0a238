"""Count the points of a scene, choose among them, and live the scene again with a death at one of them, or at two."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.crash.scenes import Life, Scene

from treasuryd.core.model import Evidence

# processes die here, disks do not: no life has to wait for one
FOLDERS = next((folder for folder in ("/dev/shm",) if Path(folder).is_dir()), None)


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where a process dies: at its n-th await or statement; `again`: where the next process does, in awaits."""

    at_await: int = -1
    at_statement: int = -1
    again: int = -1

    def __str__(self) -> str:
        first = f"--await {self.at_await}" if self.at_await >= 0 else f"--statement {self.at_statement}"
        return first if self.again < 0 else f"{first} --again {self.again}"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """
    What a scene passes when nobody dies.

    `awaits` and `statements` are how many there are. What is durable, and what the chain holds, changes at few of them:
    `await_edges` and `statement_edges` are the last point before each such change and the first one after it. Between two
    edges every death leaves the same files and the same chain.
    """

    awaits: int
    statements: int
    await_edges: tuple[int, ...]
    statement_edges: tuple[int, ...]

    def deaths(self, *, stride: int) -> list[Death]:
        """Every edge, and every `stride`-th of the points between them."""
        awaits = sorted({*self.await_edges, *range(0, self.awaits, stride)})
        statements = sorted({*self.statement_edges, *range(0, self.statements, stride)})
        return [Death(at_await=at) for at in awaits] + [Death(at_statement=at) for at in statements]

    def pairs(self, number: int, *, offset: int) -> list[Death]:
        """Choose deaths of which the next process dies as well, spread over the scene."""
        step = max(1, len(self.await_edges) // max(1, number))
        first = self.await_edges[offset % step :: step][:number]
        return [Death(at_await=at, again=(offset * 31 + place * 67) % 400) for place, at in enumerate(first)]


def counted(scene: Scene, evidence: Evidence) -> Counted:
    """Live a scene without a death."""
    life = asyncio.run(_live(scene, evidence, Death()))
    assert life.deaths == 0
    return Counted(
        awaits=life.awaits.passed,
        statements=life.statements.passed,
        await_edges=_edges(life.effects, life.awaits.passed),
        statement_edges=_edges(life.changes, life.statements.passed),
    )


def _edges(changes: list[int], most: int) -> tuple[int, ...]:
    return tuple(sorted({at for change in changes for at in (change - 1, change) if 0 <= at < most}))


def dies(scene: Scene, evidence: Evidence, death: Death) -> int:
    """Live a scene with a death; answers how many there were. Raises AssertionError where something does not hold."""
    try:
        life = asyncio.run(_live(scene, evidence, death))
    except Exception as problem:
        again = f'python -m tests.crash --scene "{scene.name}" --evidence {evidence} {death}'
        raise AssertionError(f"{problem!r}\nagain: {again}") from problem
    assert life.deaths >= 1, f"{scene.name}, {evidence}: nobody died at {death}"
    return life.deaths


async def _live(scene: Scene, evidence: Evidence, death: Death) -> Life:
    with tempfile.TemporaryDirectory(prefix="crash-", dir=FOLDERS) as folder:
        life = Life(Path(folder), scene, evidence)
        try:
            await life.begin()
            life.awaits.at, life.statements.at = death.at_await, death.at_statement
            life.dies_again = death.again
            await life.lived()
            await life.end()
        finally:
            await life.close()
    return life
