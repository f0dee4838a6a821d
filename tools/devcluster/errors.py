"""The one failure of the bare cluster: what happened, why, and what to do next."""


class ClusterError(Exception):
    """A command cannot go on; the message is for the person who gave it."""
