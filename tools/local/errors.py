"""What can go wrong on the way up or down; each message is one line for a person."""


class LocalError(Exception):
    """What was asked cannot be done here."""


class BadSettings(LocalError):
    """A variable of the environment does not hold what it should."""


class PortTaken(LocalError):
    """A port that people rely on is in use by something else."""


class NotReady(LocalError):
    """A process ended, or did not say that it is ready, before the deadline."""
