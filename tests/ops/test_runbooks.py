"""Every alert leads to a section that says what to do, with commands that exist, and none is left over."""

import re
from pathlib import Path

import pytest
from tests.ops.rules import ALERTS, ROOT, Rule
from tests.tidy.test_documents import complaint, inline_commands

RUNBOOKS = ROOT / "docs" / "runbooks"
PARTS = ("Means.", "First look.", "Likely causes.", "Resolution.", "Confirm.")
NAMES = {rule.name for rule in ALERTS}
ASKED_FOR = {  # the pages that the requirements name, by the alert that leads to each
    "TreasuryDisbursementScheduleOverdue": "treasury-stuck.md",
    "EnergyStalled": "energy.md",
    "ReceiptsFlatlining": "receipts.md",
    "TreasurySettlementAuditViolation": "audit.md",
    "TreasuryMetricMissing": "metric-missing.md",
}


def place(rule: Rule) -> tuple[Path, str]:
    """The page and the anchor that an alert's `runbook_url` names."""
    page, _, anchor = rule.body["annotations"]["runbook_url"].partition("#")
    return ROOT / page, anchor


def section(page: Path, name: str) -> str:
    """What stands below the heading of an alert, up to the next heading."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n## {name}\n")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0] if found else ""


def parts(text: str) -> dict[str, str]:
    """The section by its five leads, in the order in which they stand."""
    found = re.split(r"^\*\*([A-Z][a-z ]+\.)\*\*", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_an_alert_leads_to_its_own_section(rule: Rule) -> None:
    """Under docs/runbooks, below a heading that is the alert's name, with all five parts in their order."""
    page, anchor = place(rule)
    assert page.is_file()
    assert page.parent == RUNBOOKS
    assert anchor == rule.name.lower()
    found = parts(section(page, rule.name))
    assert tuple(found) == PARTS
    assert all(text.strip() for text in found.values())
    assert re.search(r"^- ", found["Likely causes."], flags=re.MULTILINE)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_the_causes_name_commands_that_exist(rule: Rule) -> None:
    """At least one of ours, and each as the command line takes it."""
    page, _ = place(rule)
    commands = list(inline_commands(parts(section(page, rule.name))["Likely causes."]))
    assert commands
    assert [words for words in commands if complaint(words, partial=True) is not None] == []


def test_no_section_is_of_an_alert_that_is_gone() -> None:
    """A heading in the form of an alert's name is one."""
    headings = {
        heading
        for page in RUNBOOKS.glob("*.md")
        for heading in re.findall(
            r"^## ((?:[A-Z][a-z]+){2,})$", page.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    }
    assert headings == NAMES


def test_the_index_says_of_each_alert_how_bad_and_whose() -> None:
    """Row by row as the rules have it, with a link to the section."""
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+ \| \w+ \| .*) \|$", index, flags=re.MULTILINE))
    assert set(rows) == NAMES
    for rule in ALERTS:
        severity, team, link = rows[rule.name].split(" | ")
        assert (severity, team) == (rule.body["labels"]["severity"], rule.body["labels"]["team"])
        page, anchor = place(rule)
        target = f"#{anchor}" if page.name == "README.md" else f"{page.name}#{anchor}"
        assert link.endswith(f"]({target})")


def test_the_pages_that_were_asked_for_are_there() -> None:
    """Treasury stuck, energy stalled, receipts flatlining, settlement audit, metric missing."""
    assert {rule.name: place(rule)[0].name for rule in ALERTS if rule.name in ASKED_FOR} == ASKED_FOR


def test_a_section_without_a_part_is_found() -> None:
    """The reader itself looks."""
    assert tuple(parts("**Means.** x\n\n**Confirm.** y\n")) == ("Means.", "Confirm.")
    assert section(RUNBOOKS / "README.md", "TreasuryNothing") == ""
