import configparser
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from treasuryd.cli import main
from treasuryd.errors import Exit
from treasuryd.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "treasuryd.service"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None
    and not os.environ.get("CI"),  # in the pipeline a missing part is a failure
    reason="systemd-analyze is not installed (.ci/debian-packages)",
)


class Directives(configparser.RawConfigParser):
    """A unit file as it is: names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def unit() -> Directives:
    # a name may stand twice (SystemCallFilter), which is a list in systemd
    found = Directives(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    found.read(UNIT)
    return found


@needs_systemd
def test_the_unit_is_verified_without_a_word(tmp_path: Path) -> None:
    """Any line on standard error fails: systemd ignores what it does not know, and so would we."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/treasuryd", "/usr/bin/env"))  # a program that is there
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert answer.stderr == ""
    assert answer.returncode == 0


@needs_systemd
def test_verification_looks(tmp_path: Path) -> None:
    """A misspelt directive and a missing program are found."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("WatchdogSec", "WatchdogSek"))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert "WatchdogSek" in answer.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    """systemd's own score, 0 to 10; a service without any hardening has 9.6."""
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout[-300:]


def test_the_command_line_is_one_of_ours(
    unit: Directives, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """D33: the real command line parses it; 78 is the missing file, 2 would be a flag that does not exist."""
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "treasuryd"
    there = [str(tmp_path / "none.toml") if one.endswith(".toml") else one for one in arguments]
    assert there != arguments
    assert main(there) == Exit.CONFIGURATION
    assert "none.toml" in capsys.readouterr().err
    assert main([*there, "--no-such-flag"]) == Exit.USAGE


def test_the_service_manager_is_told_and_tells(unit: Directives) -> None:
    """Readiness and watchdog by sd_notify; a reload is SIGHUP."""
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert 5 <= int(service["WatchdogSec"]) <= 60
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert service["Restart"] == "on-failure"


def test_a_start_that_a_person_has_to_correct_is_not_repeated(unit: Directives) -> None:
    """Everything else is: a crash is answered by the ordinary start."""
    prevented = {int(code) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    assert prevented == {Exit.USAGE, Exit.REFUSED, Exit.CONFIGURATION}
    assert not prevented & {Exit.OUR_BUG, Exit.STORAGE, Exit.LEASE_LOST}


def test_times_and_places_fit_the_settings(unit: Directives) -> None:
    """The defaults of unit and daemon are one design."""
    service, settings = unit["Service"], Settings()
    assert int(service["TimeoutStopSec"]) > settings.executor.grace_seconds
    assert settings.state_folder == Path("/var/lib") / service["StateDirectory"]
    assert f"/etc/{service['ConfigurationDirectory']}/treasuryd.toml" in service["ExecStart"]
    assert service["LoadCredential"].startswith("treasuryd-key:")
    assert service["UMask"] == "0077"
    assert service["LimitCORE"] == "0"
    assert f"u {service['User']} - " in (SYSTEMD / "sysusers.conf").read_text()
