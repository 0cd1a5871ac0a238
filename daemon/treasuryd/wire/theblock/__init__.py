"""
The Block's wire protocol: transactions, fees, and the meaning of the node's words.

Shared by the adapter that talks to a node and by the development chain that plays one, so that both are pinned
by the same published vectors.
"""
