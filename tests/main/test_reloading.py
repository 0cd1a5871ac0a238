"""What a reload changes reaches whoever decides by it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
from tests.main.test_compose import CONFIG, Door
from tests.main.test_starting import Clock

from treasuryd.chain.config import EndpointConfig
from treasuryd.core.model import Address, BaseUnits, Digest, DisbursementId, Draft, Endpoint
from treasuryd.host.notify import ServiceManager
from treasuryd.main.compose import assembled
from treasuryd.main.roots import Process, _process
from treasuryd.settings import Settings, load
from treasuryd.telemetry.observer import Telemetry


async def test_a_fee_ceiling_that_is_raised_is_the_signers_too(tmp_path: Path) -> None:
    """`signer.max_fee = 0` is the chain's ceiling: else every due item would be refused, and held for a person."""
    flags = {"state_folder": tmp_path / "state", "chain.fee_ceiling": 1_000}
    settings, higher = (load(CONFIG, {}, flags | {"chain.fee_ceiling": fee}) for fee in (1_000, 5_000))
    door = Door()
    server = await door.opened()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    telemetry = Telemetry.configured("json", "error")
    endpoints = (EndpointConfig(name=Endpoint("node"), url=url),)
    async with assembled(settings, observer=telemetry, endpoints=endpoints) as parts:
        process = _process(settings, parts, telemetry)
        (account,) = parts.public_keys
        draft = Draft(
            account=account,
            disbursement_id=DisbursementId(1),
            destination=Address("tb1payee"),
            amount=BaseUnits(5),
            memo="",
            fee=BaseUnits(4_000),
            payload_digest=Digest("d"),
            idempotency_key="k",
        )
        (before,) = await parts.world.signer.vet([draft])
        process.reload(lambda: higher)
        (after,) = await parts.world.signer.vet([draft])
    assert before is not draft
    assert after is draft
    server.close()
    await server.wait_closed()


class Fed(ServiceManager):
    """A service manager that notes when it was fed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__({})
        self.clock, self.heard = clock, [float(clock.boot_seconds())]

    def alive(self) -> None:
        self.heard.append(self.clock.boot_seconds())


async def test_a_longer_rest_that_a_reload_sets_is_no_silence() -> None:
    """A tick is due after the new rest: until then nobody lets the service manager end the process."""
    clock = Clock()
    manager, began = Fed(clock), clock.boot_seconds()
    process = Process(
        settings=Settings(),
        parts=cast("Any", SimpleNamespace(world=SimpleNamespace(clock=clock))),
        telemetry=cast("Any", None),
        manager=manager,
        mind=cast("Any", SimpleNamespace(fed_boot=0.0, ticked_boot=began)),
        office=cast("Any", None),
        ticker=cast("Any", None),
        keeper=cast("Any", None),
        auditor=cast("Any", None),
        watchdog=cast("Any", SimpleNamespace(feed=lambda: None)),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(process.heartbeat)
        await anyio.lowlevel.checkpoint()
        process.settings = Settings.model_validate({"executor": {"poll_seconds": 120.0}})
        while clock.boot_seconds() < began + 119:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert began + 119 - manager.heard[-1] < 10
