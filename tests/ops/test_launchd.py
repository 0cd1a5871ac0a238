import plistlib
from pathlib import Path
from typing import Any

import pytest

from treasuryd.cli import main
from treasuryd.errors import Exit
from treasuryd.settings import Settings

PLIST = Path(__file__).parents[2] / "launchd" / "org.theblock.treasuryd.plist"
# launchd.plist(5): launchd ignores what it does not know, so that a misspelt key would go unnoticed
KEYS: dict[str, type | tuple[type, ...]] = {
    "Label": str,
    "ProgramArguments": list,
    "UserName": str,
    "GroupName": str,
    "Umask": int,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "HardResourceLimits": dict,
    "StandardErrorPath": str,
    "StandardOutPath": str,
    "WorkingDirectory": str,
}
KEEP_ALIVE = {"SuccessfulExit", "Crashed", "PathState", "OtherJobEnabled"}
LIMITS = {"Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles", "NumberOfProcesses", "Stack"}


@pytest.fixture
def job() -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads(PLIST.read_bytes(), fmt=plistlib.FMT_XML)
    return found


def test_every_key_is_known_and_of_its_type(job: dict[str, Any]) -> None:
    """The table is launchd's own."""
    for name, value in job.items():
        assert type(value) is KEYS[name], name
    assert set(job["KeepAlive"]) <= KEEP_ALIVE
    assert set(job["HardResourceLimits"]) <= LIMITS
    assert job["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}


def test_the_label_is_the_name_of_the_file(job: dict[str, Any]) -> None:
    """launchctl finds it by either."""
    assert f"{job['Label']}.plist" == PLIST.name


def test_the_command_line_is_one_of_ours(job: dict[str, Any], tmp_path: Path) -> None:
    """D33: the real command line parses it; 78 is the missing file, 2 would be a flag that does not exist."""
    program, *arguments = job["ProgramArguments"]
    assert program.startswith("/")
    assert Path(program).name == "treasuryd"
    there = [str(tmp_path / "none.toml") if one.endswith(".toml") else one for one in arguments]
    assert main(there) == Exit.CONFIGURATION
    assert main([*there, "--no-such-flag"]) == Exit.USAGE


def test_it_is_started_again_after_a_failure_and_stopped_gently(job: dict[str, Any]) -> None:
    """A clean end stays an end; the grace of the shutdown fits."""
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["ExitTimeOut"] > Settings().executor.grace_seconds
    assert job["Umask"] == 0o077
    assert job["HardResourceLimits"]["Core"] == 0
