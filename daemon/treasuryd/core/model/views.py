"""What one tick decides from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treasuryd.core.model.chain import FeeQuote, Frame
from treasuryd.core.model.disbursements import Disbursement, Vote
from treasuryd.core.model.ids import (
    AccountId,
    Address,
    BaseUnits,
    BlockHash,
    BootSeconds,
    DisbursementId,
    Epoch,
    Height,
    Nonce,
    UnixSeconds,
)
from treasuryd.core.model.intents import Intent
from treasuryd.core.model.words import AccountState, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One paying account as stored."""

    id: AccountId
    state: AccountState = AccountState.ACTIVE
    cause: str = ""  # FreezeCause value, or the reason of a quarantine
    detail: str = ""
    next_nonce: Nonce | None = None  # None: not adopted yet, the chain's count seeds it (R2)
    high_water: Nonce = Nonce(0)  # the highest nonce ever staged
    baseline: Frame | None = None
    kept: tuple[Frame, ...] = ()  # older kept frames, oldest first, the baseline not among them
    thaw_above: Nonce | None = None  # highest foreign nonce seen; thawing waits until it is burned or gone
    # for people alone: what a deep reorg took, payments to reopen and nonces to fill (R9)
    lost_payments: tuple[DisbursementId, ...] = ()
    lost_nonces: tuple[Nonce, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """The chain as stored: what is pinned and what is believed (R15, R16)."""

    chain_id: int
    genesis: BlockHash | None = None
    believed: Height = Height(0)
    risen_at: UnixSeconds = UnixSeconds(0.0)  # wall time when `believed` last rose
    settled_height: Height = Height(0)
    settled: Epoch = Epoch(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """
    When a decision is taken: epochs, heights, clocks and the frame of this tick.

    `believed` is the highest believed head of the endpoints, `lowest` (None: as `believed`) the one that finality is
    judged from (R9: where more than one is configured, one of them alone buries nothing). `least_fee` is the cheapest
    price of what the last tick looked at, 0 where that was nothing: what cannot pay it is not looked at (D8).
    """

    unix: UnixSeconds
    boot: BootSeconds
    believed: Height
    settled: Epoch
    seen: Epoch
    evidence: Evidence
    frame: Frame | None = None  # None: the chain could not be read consistently in this tick
    quote: FeeQuote | None = None
    lowest: Height | None = None
    least_fee: BaseUnits = BaseUnits(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludedBlock:
    """All included intents of one account in one block: they become final, or are taken back, together."""

    account: AccountId
    height: Height
    block_hash: BlockHash
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """
    What the store knows of one account's nonces above its baseline's count and up to the frame's.

    Together they say which consumed nonces are a stranger's although `View.consumed` may be cut and some were placed
    before: by a partly settled tick, or by a baseline that a reorg took back.
    """

    consumed: int = 0  # staged, signed and broadcast ones; `View.consumed` may list fewer
    placed: int = 0  # included, final and ambiguous ones, and void ones whose nonce was burned
    cost: int = 0  # of the placed: amounts and fees charged, for a cancel its one unit and fee (base units)
    burned: Nonce = Nonce(0)  # the highest nonce of this account that is final, or void by a burned nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    What one more intent may have paid to a destination in the interval (§5.1 item 1).

    One for each intent (of every account of the store, this one's placed ones too; live, included or final) to a
    destination of `View.consumed` that is not listed there itself, with a nonce above the one that the lowest
    baseline shows of its account.
    """

    account: AccountId
    nonce: Nonce
    destination: Address
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A deposit into an account that a person has announced (§5.1 item 3)."""

    id: int
    account: AccountId
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    One consistent reading of the store for the accounts of one tick; every list is bounded by the tick's limit.

    Intents carry their variants; `tx_bytes` are loaded only in `unsent` and `resend`.
    """

    accounts: tuple[Account, ...] = ()
    chain: ChainState
    kill_switch: bool = False
    advancing: tuple[Disbursement, ...] = ()  # draft; voting at its deadline; queued at its activation
    candidates: tuple[Disbursement, ...] = ()  # timelocked, due, nothing stored keeps them, no live intent
    votes: Mapping[DisbursementId, tuple[Vote, ...]] = field(default_factory=dict)  # of the two above
    unsealed: tuple[Intent, ...] = ()  # live intents with a variant that has no bytes yet, nonce order
    unsent: tuple[Intent, ...] = ()  # signed, or with a sealed variant never sent; nonce order
    resend: tuple[
        Intent, ...
    ] = ()  # broadcast, unconsumed, last sent before the resend threshold; nonce order
    consumed: tuple[Intent, ...] = ()  # live and not included, nonce <= the frame's count; nonce order
    cancelling: tuple[Intent, ...] = ()  # live, cancel requested, no cancel variant yet
    blocks: tuple[IncludedBlock, ...] = ()
    intervals: Mapping[AccountId, Interval] = field(
        default_factory=dict
    )  # of the accounts that have a baseline
    claims: tuple[Claim, ...] = ()  # what else may have paid the destinations of `consumed`
    announced: tuple[Announced, ...] = ()
    unburned: Mapping[AccountId, int] = field(
        default_factory=dict
    )  # live, not included, above the frame's count
    oldest_sent: Mapping[AccountId, Intent] = field(default_factory=dict)  # head of line: oldest unconsumed
    more: bool = False  # some list was cut: tick again at once
