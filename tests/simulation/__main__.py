"""Replay a seed, or run many: `python -m tests.simulation SEED [--loud] [--plant NAME]`."""

import sys

from tests.simulation.runs import main

sys.exit(main())
