"""The error of the bare cluster."""


class ClusterError(Exception):
    """A command cannot continue; the message says what happened, why and what to do."""
