"""The settings as a whole: all sections in one, where files lie, and the frozen values that other rings are handed."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from treasuryd.core.breaker import QUEUED_SECONDS, BreakerSettings
from treasuryd.core.model import MAX_ACCOUNTS, AccountId, Address, BaseUnits, House, HouseName, Ppm, Rules
from treasuryd.errors import Rejected
from treasuryd.settings.fields import OptionalPath, require, setting
from treasuryd.settings.observer import ObserverSection
from treasuryd.settings.sections import (
    AccountSection,
    AuditSection,
    BreakerSection,
    ChainSection,
    DevnetSection,
    ExecutorSection,
    GovernanceSection,
    HouseSection,
    HttpSection,
    IntakeSection,
    LeaseSection,
    LogSection,
    SignerSection,
)


class Settings(BaseSettings):
    """
    The operator's whole word.

    Guarantees: reading it never looks at the environment by itself (`load` does, strictly); printing it shows no secret.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True,
        env_prefix="TREASURYD_",
        env_nested_delimiter="__",
    )  # fmt: skip

    development: bool = setting(
        False,
        "Generates keys at the first start, lets loopback write without a token, allows the embedded chain. Never in "
        "production.",
    )
    state_folder: Path = setting(
        Path("/var/lib/treasuryd"),
        "Database, lock, ids; on a local disk. Why there: systemd's StateDirectory.",
    )
    store_file: OptionalPath = setting(
        "",
        "The database, where several daemons with state folders of their own work on one; on a local disk. They need one "
        "`signer.folder`, too. Empty: `<state folder>/treasuryd.db`.",
    )
    journal_folder: OptionalPath = setting(
        "",
        "The outside copy of the journal; better on another disk (protocol §3). Empty: `<state folder>/journal`.",
    )
    accounts: tuple[AccountSection, ...] = setting((), "The paying accounts; `run` needs at least one.")
    chain: ChainSection = setting(ChainSection(), "")
    governance: GovernanceSection = setting(GovernanceSection(), "")
    intake: IntakeSection = setting(IntakeSection(), "")
    lease: LeaseSection = setting(LeaseSection(), "")
    breaker: BreakerSection = setting(BreakerSection(), "")
    executor: ExecutorSection = setting(ExecutorSection(), "")
    audit: AuditSection = setting(AuditSection(), "")
    observer: ObserverSection = setting(ObserverSection(), "")
    http: HttpSection = setting(HttpSection(), "")
    signer: SignerSection = setting(SignerSection(), "")
    log: LogSection = setting(LogSection(), "")
    devnet: DevnetSection = setting(DevnetSection(), "")

    DEFAULT_FUNDS: ClassVar[int] = 1_000_000_000_000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load` has merged: pydantic's own sources let unknown variables pass."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [account.name for account in self.accounts]
        sinks = [account.sink_address for account in self.accounts]
        require(len(names) == len(set(names)), "accounts: two have the same name")
        require(
            len(names) <= MAX_ACCOUNTS, f"accounts: {len(names)}, the limit of one process is {MAX_ACCOUNTS}"
        )
        require(len(sinks) == len(set(sinks)), "accounts: two have the same sink")
        require(not set(names) & set(sinks), "accounts: a sink is also a paying account")
        require(
            self.development or not self.devnet.enabled,
            "devnet.enabled needs development = true: the embedded chain has no value",
        )
        longest = QUEUED_SECONDS + max(self.chain.read_seconds, self.chain.send_seconds)
        require(
            self.breaker.permit_secs > longest,
            f"breaker.permit_secs must be above {longest:g}, the longest call with its queue",
        )
        return self

    def check_run(self) -> None:
        """Refuse to run on settings that suffice for other commands only. Raises: Rejected, naming what is missing."""
        missing = []
        if not self.accounts:
            missing.append("accounts: name at least one paying account")
        if not self.chain.endpoints and not self.devnet.enabled:
            missing.append("chain.endpoints: name at least one node")
        if missing:
            raise Rejected(
                "\n".join(missing), hint="See config/treasuryd.toml; for a first look use config/dev.toml."
            )

    # --- places -------------------------------------------------------------------------------------------

    @property
    def database_file(self) -> Path:
        """The store."""
        return self.store_file or self.state_folder / "treasuryd.db"

    @property
    def journal_path(self) -> Path:
        """The folder of the journal's outside copy."""
        return self.journal_folder or self.state_folder / "journal"

    @property
    def signer_folder(self) -> Path:
        """The folder of keys and signer's ledger."""
        return self.signer.folder or self.state_folder / "signer"

    @property
    def key_files(self) -> dict[AccountId, Path]:
        """Each account's key file."""
        return {
            AccountId(account.name): account.key_file
            or self.signer_folder / f"{quote(account.name, safe='')}.key"
            for account in self.accounts
        }

    # --- values for the other rings -----------------------------------------------------------------------

    @property
    def sinks(self) -> dict[AccountId, Address]:
        """Each account's sink."""
        return {AccountId(account.name): account.sink_address for account in self.accounts}

    @property
    def max_fee(self) -> BaseUnits:
        """The largest fee that the signer signs."""
        return BaseUnits(self.signer.max_fee or self.chain.fee_ceiling)

    @property
    def genesis_funds(self) -> dict[str, int]:
        """What accounts own at the first block of the embedded chain."""
        return {account.name: self.DEFAULT_FUNDS for account in self.accounts} | self.devnet.genesis

    @property
    def log_format(self) -> Literal["json", "console"]:
        """The log format, chosen."""
        if self.log.format == "auto":
            return "console" if self.development else "json"
        return self.log.format

    def rules(self) -> Rules:
        """Make the protocol's rules of what is set."""
        chain, governance = self.chain, self.governance
        return Rules(
            houses={
                HouseName.OPERATORS: _house(HouseName.OPERATORS, governance.operators),
                HouseName.BUILDERS: _house(HouseName.BUILDERS, governance.builders),
            },
            epoch_blocks=chain.epoch_blocks,
            finality_depth=chain.finality_depth,
            max_blocks_per_second=chain.max_blocks_per_second,
            head_max_age_seconds=chain.head_max_age_seconds,
            min_vote_window_epochs=governance.min_vote_window_epochs,
            min_timelock_epochs=governance.min_timelock_epochs,
            min_rollback_window_epochs=governance.min_rollback_window_epochs,
            allow_treasury_initiated=governance.allow_treasury_initiated,
            dependency_satisfied_by_final=governance.dependency_satisfied_by == "final",
            destination_pattern=self.intake.destination_pattern,
            max_transfer=BaseUnits(self.intake.max_transfer) if self.intake.max_transfer else None,
            # what the signer would refuse is not asked of it: refused, an item waits for a person, and not for the fee
            fee_ceiling=min(BaseUnits(chain.fee_ceiling), self.max_fee),
            fee_uncertainty_max=BaseUnits(chain.fee_uncertainty_max or chain.fee_ceiling),
            max_unburned=chain.max_unburned,
            resend_seconds=chain.resend_seconds,
            bump_seconds=chain.bump_seconds,
            pool_ttl_seconds=chain.pool_ttl_seconds,
            replaces_pooled=chain.replaces_pooled,
            head_wait_seconds=chain.head_wait_seconds,
            poison_refusals=chain.poison_refusals,
            movers=frozenset(Address(mover) for mover in chain.movers),
            sinks=self.sinks,
            batch_min=self.executor.batch_min,
            batch_max=self.executor.batch_max,
        )

    def breaker_settings(self) -> BreakerSettings:
        """Make the breaker's value of what is set."""
        return BreakerSettings(**self.breaker.model_dump())

    def shown(self) -> dict[str, Any]:
        """Give everything as JSON values for `config show`: secrets as asterisks; a URL holds none."""
        return self.model_dump(mode="json")


def _house(name: HouseName, section: HouseSection) -> House:
    return House(
        name=name,
        keys={key: section.weights.get(key, 1) for key in section.keys},
        retired=section.retired,
        min_quorum_ppm=Ppm(section.min_quorum_ppm),
    )
