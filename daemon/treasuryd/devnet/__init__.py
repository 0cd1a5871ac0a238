"""
The development chain: plays a node of The Block on loopback, with the node's words, limits and bad habits.

It is the other side: it shares the codec with the daemon and nothing else.
"""
