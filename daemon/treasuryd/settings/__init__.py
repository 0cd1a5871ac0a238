"""
Everything an operator can set: file < environment < flags, read strictly (interfaces.md §4).

`sections` says what there is, `layers` reads it and complains, `example` renders it as the commented file,
`reload` says what SIGHUP may change.
"""

from treasuryd.settings.layers import FOR_THE_COMMAND_LINE, load
from treasuryd.settings.reload import Changes, what_may_change
from treasuryd.settings.root import Settings

__all__ = ["FOR_THE_COMMAND_LINE", "Changes", "Settings", "load", "what_may_change"]
