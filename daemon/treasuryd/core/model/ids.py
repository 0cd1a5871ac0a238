"""A NewType for each id and quantity, and the bounds that everybody shares."""

from typing import Final, NewType

AccountId = NewType("AccountId", str)  # the paying account; on The Block also its address
Address = NewType("Address", str)
DisbursementId = NewType("DisbursementId", int)  # 1 … 2^63-1, assigned by the store, never used again
IntentId = NewType("IntentId", int)
Nonce = NewType("Nonce", int)  # place in an account's sequence; the first payment of an account has nonce 1
BaseUnits = NewType("BaseUnits", int)  # 0 … 2^63-1
Height = NewType("Height", int)  # number of blocks: 0 on an empty chain, the first block has height 1
Epoch = NewType("Epoch", int)  # height // epoch_blocks
Term = NewType("Term", int)  # the lease's fencing number
Incarnation = NewType("Incarnation", str)  # random id of one process start
Digest = NewType("Digest", str)  # 64 lower-case hex digits, BLAKE3-256
TxHash = NewType("TxHash", str)  # 64 lower-case hex digits
BlockHash = NewType("BlockHash", str)
UnixSeconds = NewType("UnixSeconds", float)  # wall clock: for records and people, never for a decision
BootSeconds = NewType("BootSeconds", float)  # never steps back, runs on in sleep
Ppm = NewType("Ppm", int)  # 0 … 1,000,000
Endpoint = NewType("Endpoint", str)  # configured name of a node
MAX_AMOUNT: Final = 2**63 - 1  # protocol.md §3: larger u64 values are refused at intake
MAX_MEMO_BYTES: Final = 8_192
MAX_DEPENDENCIES: Final = 100
MAX_PPM: Final = 1_000_000
MAX_ACCOUNTS: Final = 64  # of one process; each is a label value of every series about accounts
MAX_ENDPOINTS: Final = 16
