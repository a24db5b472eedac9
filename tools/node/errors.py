"""What can go wrong with a private node; each message is one line for a person."""


class NodeError(Exception):
    """The private node cannot do what was asked."""


class NotInstalledError(NodeError):
    """RabbitMQ's server is not on this machine."""


class PortTakenError(NodeError):
    """A port the node needs is in use by something else."""


class NotReadyError(NodeError):
    """The node ended, or did not answer, before the deadline."""
