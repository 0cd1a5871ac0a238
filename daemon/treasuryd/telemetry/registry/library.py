"""What the client library exports of the process by itself; on systems without `/proc` it is left out."""

from typing import Final

from treasuryd.telemetry.registry.family import Family, Kind, Unit

_LIBRARY: Final = "the client library"
_NO_PROC: Final = "where the system has no `/proc`"


def _gauge(name: str, unit: Unit, text: str) -> Family:
    return Family(name=name, kind=Kind.GAUGE, unit=unit, help=text, filled_by=_LIBRARY, absent=_NO_PROC)


FAMILIES: Final = (
    _gauge("process_virtual_memory_bytes", Unit.BYTES, "Virtual memory."),
    _gauge("process_resident_memory_bytes", Unit.BYTES, "Resident memory."),
    _gauge("process_start_time_seconds", Unit.UNIX_SECONDS, "When the process was started."),
    Family(
        name="process_cpu_seconds_total",
        kind=Kind.COUNTER,
        unit=Unit.SECONDS,
        help="Processor time, user and system.",
        filled_by=_LIBRARY,
        absent=_NO_PROC,
    ),
    _gauge("process_open_fds", Unit.COUNT, "Open file descriptors."),
    _gauge("process_max_fds", Unit.COUNT, "How many file descriptors may be open."),
)
