"""treasuryd: pays governance-approved disbursements on a blockchain, each exactly once."""

__version__ = "0.1.0"
