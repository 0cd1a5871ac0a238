import threading

from tests.observer.world import CONFIG, FakeLine, Given, watching

from treasuryd.observer.asking import OFFLOAD_BYTES, Asking, in_a_thread


async def test_a_long_answer_is_read_off_the_loop() -> None:
    """The loop renews leases meanwhile; a short one is not worth a thread."""
    line: FakeLine = watching().line
    used: list[str] = []

    async def offload(work: object) -> object:
        def told() -> object:
            used.append(threading.current_thread().name)
            return work()  # type: ignore[operator]

        return await in_a_thread(told)

    asking = Asking(CONFIG, line, line.clock, token=lambda: None, offload=offload)
    line.spoiled["/metrics"] = Given(body=b"energy_readings_total 1\n")
    assert (await asking.metrics()).series == {"energy_readings_total": {(): 1.0}}
    assert used == []
    line.spoiled["/metrics"] = Given(body=b"energy_readings_total 2\n" + b"# x\n" * OFFLOAD_BYTES)
    assert (await asking.metrics()).series == {"energy_readings_total": {(): 2.0}}
    assert len(used) == 1
    assert used[0] != threading.main_thread().name


async def test_every_question_has_an_id_of_its_own() -> None:
    """An answer that comes late cannot pass for another one's."""
    watched = watching()
    await watched.round()
    await watched.round()
    assert watched.failures() == {}
