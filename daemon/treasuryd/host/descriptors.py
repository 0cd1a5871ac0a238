"""
How many files this process may have open: connections of strangers must leave enough for the store and the nodes.

Without a descriptor for its rollback journal the store fails, and the process ends. So the limit is compared at the
start with the most connections that the HTTP port may hold.
"""

import resource
from typing import Final

from treasuryd.errors import Rejected

RESERVED: Final = (
    64  # store, ledger, copies, nodes, logs and locks: 30 were counted, with room for the same again
)


def reserve(connections: int) -> None:
    """
    Raise the soft limit of open files where it is too low for `connections` and our own.

    Raises: Rejected when the hard limit does not allow it.
    """
    wanted = connections + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Rejected(
            f"{hard} open files are allowed, and http.max_connections = {connections} may need {wanted}",
            field="http.max_connections",
            hint="Raise the limit (`LimitNOFILE=` in the unit, `ulimit -n` in a shell), or lower http.max_connections.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
