import csv
import re
import tomllib
from pathlib import Path

from treasuryd.core.intake import Intake, check, items_of
from treasuryd.core.model import AccountId, Evidence, NewDisbursement
from treasuryd.core.reading import read_csv, read_json
from treasuryd.settings import Settings, load
from treasuryd.settings.example import example

CONFIG = Path(__file__).parents[2] / "config"


def test_the_file_and_the_class_are_one() -> None:
    """Every setting with unit, range and reason; a setting that is added shows up here."""
    assert example() == (CONFIG / "treasuryd.toml").read_text()


def test_the_file_as_shipped_changes_nothing() -> None:
    """All values in it are commented out."""
    assert load(CONFIG / "treasuryd.toml", {}) == Settings()


def test_the_commented_values_are_the_defaults() -> None:
    """Removing every comment sign gives the same settings; the sample blocks of lists apart."""
    text = re.sub(r"^#(?=[\[a-z])", "", (CONFIG / "treasuryd.toml").read_text(), flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert values.pop("accounts") == [{"name": "treasury", "sink": "", "key_file": ""}]
    assert values["chain"].pop("endpoints") == [{"name": "local", "url": "http://127.0.0.1:3030"}]
    assert Settings(**values) == Settings()


def test_the_development_file_is_as_documented() -> None:
    """interfaces.md §4, the column of development."""
    settings = load(CONFIG / "dev.toml", {})
    settings.check_run()
    rules = settings.rules()
    assert settings.development
    assert settings.state_folder == CONFIG.parent / ".state"
    assert settings.executor.poll_seconds == 0.2
    assert (rules.epoch_blocks, rules.finality_depth, rules.max_blocks_per_second) == (10, 3, 50)
    windows = (rules.min_vote_window_epochs, rules.min_timelock_epochs, rules.min_rollback_window_epochs)
    assert windows == (1, 1, 1)
    assert rules.allow_treasury_initiated
    assert settings.devnet.enabled
    assert settings.devnet.block_interval_seconds == 0.1
    assert settings.http.port == 9477
    assert ".state/" in (CONFIG.parent / ".gitignore").read_text().split()


def test_the_example_of_the_environment_names_real_variables() -> None:
    """Each line, uncommented, is accepted."""
    text = (CONFIG / "treasuryd.env.example").read_text()
    lines = re.findall(r"^#(TREASURYD_\w+)=(.*)$", text, flags=re.MULTILINE)
    assert len(lines) >= 6
    settings = load(None, dict(lines))
    assert settings.accounts[0].name == "treasury"


def intake() -> Intake:
    settings = load(CONFIG / "dev.toml", {})
    return Intake(
        rules=settings.rules(),
        accounts=tuple(AccountId(account.name) for account in settings.accounts),
        evidence=Evidence.HASH,
    )


def sample() -> list[NewDisbursement]:
    """All batches of the folder in the order of their names, as `run --submit` takes them."""
    found: list[NewDisbursement] = []
    for file in sorted((CONFIG / "samples").glob("*.json")):
        checked = check(items_of(read_json(file.read_bytes())), key=None, intake=intake())
        assert checked.errors == ()
        found += checked.items
    return found


def test_the_sample_uses_every_feature_and_passes_intake() -> None:
    """Both dependency formats in memos, refs, proposals with dependencies, a timelock, several amounts and memos."""
    items = sample()
    proposals = [item.proposal for item in items if item.proposal]
    assert [item.depends_on for item in items] == [(), (), (), (), (2,), (1, 2), (1, 3)]
    assert items[3].depends_on_refs == ("audit", "meters")
    assert {item.memo.startswith("{") for item in items} == {True, False}
    assert max(proposal.timelock_epochs for proposal in proposals) > 1
    assert all(proposal.operators_ppm and proposal.builders_ppm for proposal in proposals)
    assert any(item.expected_receipts for item in items)
    assert len({item.amount for item in items}) == len(items)


def test_an_item_of_the_sample_names_ids_of_earlier_files_only() -> None:
    """Ids are given in input order, so on a fresh store item n of the sample has id n."""
    for place, item in enumerate(sample(), start=1):
        assert all(dependency < place for dependency in item.depends_on)


def test_the_sample_table_passes_intake() -> None:
    """Columns of interfaces.md §1, refs with a leading @."""
    raw = (CONFIG / "samples" / "batch.csv").read_bytes()
    rows = read_csv(raw)
    assert all(not row.errors for row in rows)
    checked = check([row.item for row in rows], key=None, intake=intake())
    assert checked.errors == ()
    assert checked.items[2].depends_on_refs == ("rent", "power")
    assert len(list(csv.reader(raw.decode().splitlines()))) == 4
