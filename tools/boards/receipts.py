"""The receipts board: receipts and economics of the node, as the daemon's observer copies them. Ids from 300."""

from typing import Final

from tools.boards.energy import grown
from tools.boards.parts import GREEN, RED, YELLOW, Board, Panel, Query, Row, most, own

MARKETS: Final = ("storage", "compute", "energy", "ad")


def failures(number: int, title: str, name: str, text: str) -> Panel:
    """Show how often something failed within an hour: any is too many."""
    return Panel(
        id=number,
        title=title,
        text=text,
        queries=(Query(grown(name, "", "1h"), "failures"),),
        steps=((None, GREEN), (1, RED)),
        least=0,
    )


RECEIPTS: Final = (
    Panel(
        id=300,
        title="Receipts per block",
        text="Receipts in the newest block, altogether and by market. A market that stays at 0 has fallen silent.",
        queries=(
            Query(most("receipts_per_block"), "all"),
            *(Query(most(f"receipts_{market}_per_block"), market) for market in MARKETS),
        ),
        least=0,
    ),
    Panel(
        id=301,
        title="Receipt bytes per block",
        text="How much of the newest block its receipts take.",
        queries=(Query(most("receipt_bytes_per_block"), "bytes"),),
        unit="bytes",
        least=0,
    ),
    Panel(
        id=309,
        title="Throughput per minute",
        text="Receipts per minute by market.",
        queries=(Query("receipts:emitted:per_minute", "{{market}}"),),
        stacked=True,
        least=0,
    ),
    failures(
        302,
        "Encoding failures (1 h)",
        "receipt_encoding_failures_total",
        "Receipts that the node could not write.",
    ),
    failures(
        303,
        "Validation failures (1 h)",
        "receipt_validation_errors_total",
        "Receipts that the node found wrong.",
    ),
    failures(
        304,
        "Decoding failures (1 h)",
        "receipt_decoding_failures_total",
        "Receipts that the node could not read.",
    ),
    Panel(
        id=305,
        title="Drains per second",
        text="How often the node drained its pending receipts into a block.",
        queries=(Query("receipts:drain:rate1m", "drains"),),
        least=0,
    ),
    Panel(
        id=306,
        title="Drain depth",
        text="Receipts that waited at the last drain.",
        queries=(Query(most("receipt_drain_depth"), "waiting"),),
        least=0,
    ),
    Panel(
        id=307,
        title="Receipts since the start",
        text="All receipts by market, since the node started.",
        queries=(Query(most("receipt_emitted_total", "market"), "{{market}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=308,
        title="Settled in the newest block",
        text="Base units of BLOCK that receipts settled, by market.",
        queries=tuple(Query(most(f"receipt_settlement_{market}"), market) for market in MARKETS),
        stacked=True,
        least=0,
    ),
    Panel(
        id=310,
        title="Slashes per block",
        text="Slashes in the newest block, by market: broken promises of providers.",
        queries=tuple(
            Query(most(f"receipts_{market}_slash_per_block"), market) for market in MARKETS if market != "ad"
        ),
        least=0,
    ),
    Panel(
        id=311,
        title="Other failures (1 h)",
        text="Headers that do not match, samples of data availability that failed, receipts not kept or corrupt.",
        queries=tuple(
            Query(grown(name, "", "1h"), legend)
            for name, legend in (
                ("receipt_header_mismatch_total", "header"),
                ("receipt_da_sample_failure_total", "sample"),
                ("receipt_persist_fail_total", "not kept"),
                ("receipt_corrupt_total", "corrupt"),
            )
        ),
        steps=((None, GREEN), (1, RED)),
        least=0,
    ),
    Panel(
        id=312,
        title="Slashes since the start",
        text="All slashes by market, since the node started.",
        queries=(Query(most("receipt_slashes_total", "market"), "{{market}}"),),
        least=0,
    ),
)
ECONOMICS: Final = (
    Panel(
        id=320,
        title="Transactions of the epoch",
        text="Transactions in the last epoch, and their volume in base units of BLOCK.",
        queries=(
            Query(most("economics_epoch_tx_count"), "transactions"),
            Query(most("economics_epoch_tx_volume_block"), "volume"),
        ),
        least=0,
    ),
    Panel(
        id=321,
        title="Issuance",
        text="Base units of BLOCK: reward of a block, and what an epoch brought the treasury.",
        queries=(
            Query(most("economics_block_reward_per_block"), "reward of a block"),
            Query(most("economics_epoch_treasury_inflow_block"), "treasury inflow of the epoch"),
        ),
        least=0,
    ),
    Panel(
        id=322,
        title="Utilization of the markets",
        text="How much of each market's capacity is used, as the control law saw it at the epoch's boundary.",
        queries=(Query(most("economics_utilization", "market"), "{{market}}"),),
        least=0,
    ),
    Panel(
        id=323,
        title="Inflation and tariff",
        text="Basis points: inflation as realized, tariff, and the treasury's part of the tariff.",
        queries=(
            Query(most("economics_realized_inflation_bps"), "inflation"),
            Query(most("economics_tariff_bps"), "tariff"),
            Query(most("economics_tariff_treasury_contribution_bps"), "treasury's part"),
        ),
    ),
    Panel(
        id=324,
        title="Subsidies",
        text="Share of each market in the subsidies, basis points.",
        queries=(Query(most("economics_subsidy_share_bps", "market"), "{{market}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=325,
        title="Updates of the control law (24 h)",
        text="How often the node adjusted its subsidies; one per epoch.",
        queries=(Query(f"max(increase({own('economics_control_law_update_total')}[24h]))", "updates"),),
        least=0,
    ),
    Panel(
        id=326,
        title="Multipliers",
        text="By how much the control law raises or lowers each market's rewards.",
        queries=(Query(most("economics_multiplier", "market"), "{{market}}"),),
    ),
    Panel(
        id=327,
        title="Margins of providers",
        text="What providers of each market earn above their cost, as the control law saw it; negative: below.",
        queries=(Query(most("economics_provider_margin", "market"), "{{market}}"),),
    ),
    Panel(
        id=328,
        title="Shares of advertising",
        text="Who gets which share of an advertisement's price, basis points.",
        queries=(Query(most("economics_ad_split_bps", "recipient"), "{{recipient}}"),),
        stacked=True,
        least=0,
    ),
)
STORAGE: Final = (
    Panel(
        id=330,
        title="Storage: retrievals found",
        text="Share of retrievals that succeeded, over five minutes; the storage market's health.",
        queries=(Query("storage:retrieval:success_ratio", "found"),),
        unit="percentunit",
        steps=((None, RED), (0.95, GREEN)),
        least=0,
        most=1,
    ),
    Panel(
        id=331,
        title="Storage: retrievals per second",
        text="Retrievals that succeeded and that failed.",
        queries=(
            Query("storage:retrieval_success:rate1m", "found"),
            Query("storage:retrieval_failure:rate1m", "failed"),
        ),
        stacked=True,
        least=0,
    ),
    Panel(
        id=332,
        title="Capacity",
        text="How much of what is planned for is used: 100 payments, 1,000 readings, 50 storage contracts a minute.",
        queries=(
            Query("treasury:capacity:utilization_ratio", "payments"),
            Query("energy:capacity:utilization_ratio", "readings"),
            Query("storage:capacity:utilization_ratio", "contracts"),
        ),
        unit="percentunit",
        steps=((None, GREEN), (0.8, YELLOW)),
        least=0,
    ),
)

BOARD: Final = Board(
    file="grafana_receipts_dashboard",
    uid="receipts-dashboard",
    title="treasuryd: receipts and economics",
    text="Receipts of the node's four markets, its economics, storage and capacity, copied by the daemon's observer.",
    rows=(
        Row(id=390, title="Receipts", panels=RECEIPTS),
        Row(id=391, title="Economics", panels=ECONOMICS),
        Row(id=392, title="Storage, capacity", panels=STORAGE),
    ),
    since="now-1h",
    by_account=False,
)
