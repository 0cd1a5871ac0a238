"""The mailbox takes what Alertmanager sends, and writes down who was told what."""

import json
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from tests.reach import UNREACHED, ask, free_port, until

MAILBOX = Path(__file__).parents[2] / "tools" / "mailbox.py"


class Box:
    def __init__(self, folder: Path) -> None:
        self.http, self.smtp, self.file = free_port(), free_port(), folder / "mail.jsonl"
        words = [sys.executable, str(MAILBOX), str(self.http), str(self.smtp), str(self.file)]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def answers(self) -> bool:
        try:
            return bool(ask(self.http, "GET", "/")[0] == 200)
        except UNREACHED:
            return False


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    found = Box(tmp_path)
    try:
        until("the mailbox answers", found.answers, seconds=20)
        yield found
    finally:
        found.process.terminate()
        assert found.process.wait(10) == 0


def test_a_web_hook_is_written_down_with_its_path(box: Box) -> None:
    """The path says whose it is."""
    status, _ = ask(box.http, "POST", "/team-sre/webhook", {"alerts": [{"status": "firing"}]})
    assert status == 200
    (line,) = box.lines()
    assert (line["way"], line["to"]) == ("http", "/team-sre/webhook")
    assert line["said"] == {"alerts": [{"status": "firing"}]}


def test_kinds_of_receivers_get_the_answer_that_they_take_for_success(box: Box) -> None:
    """PagerDuty wants 202, Slack and web hooks 200; what is no JSON is kept as text."""
    assert ask(box.http, "POST", "/a/pagerduty", {})[0] == 202
    assert ask(box.http, "POST", "/a/slack", {})[0] == 200
    assert ask(box.http, "POST", "/a/opsgenie/v2/alerts", "just words")[0] == 202
    assert len(box.lines()) == 3


def test_a_mail_is_written_down_with_subject_and_text(box: Box) -> None:
    """As a client of the standard library sends it, with a line that begins with a dot."""
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "[FIRING:1] It burns", "a@localhost", "b@localhost"
    mail.set_content("First\n.hidden\nlast\n")
    with smtplib.SMTP("127.0.0.1", box.smtp, timeout=5) as link:
        link.send_message(mail)
    (line,) = box.lines()
    assert (line["way"], line["to"], line["sender"]) == ("smtp", ["b@localhost"], "a@localhost")
    assert line["subject"] == "[FIRING:1] It burns"
    assert line["said"].split() == ["First", ".hidden", "last"]


def test_two_mails_of_one_sender_are_two(box: Box) -> None:
    """Who is told is told for each mail."""
    with smtplib.SMTP("127.0.0.1", box.smtp, timeout=5) as link:
        for name in ("one", "two"):
            link.sendmail("a@localhost", [f"{name}@localhost"], f"Subject: {name}\n\nHello")
        assert link.docmd("EXPN", "x")[0] == 502
    assert [line["to"] for line in box.lines()] == [["one@localhost"], ["two@localhost"]]
