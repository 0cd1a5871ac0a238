"""`python -m treasuryd` is `treasuryd`."""

import sys

from treasuryd.cli import main

if __name__ == "__main__":
    sys.exit(main())
