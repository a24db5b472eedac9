"""Every error that crosses a module's border, a sentence each."""


class SmsBatchError(Exception):
    """The root of this project's errors."""


class SettingsError(SmsBatchError):
    """A setting is missing or wrong; the process ends with exit status 2."""


class TopologyMismatch(SmsBatchError):
    """The broker has a queue or exchange with other arguments than ours; the process ends."""


class UnreadableMessage(SmsBatchError):
    """A message's body or type is not one that we know; it is dead-lettered at its first delivery."""


class BrokerUnreachable(SmsBatchError):
    """There is no connection to the broker, or it went; what was not settled is back on its queue."""


class QueueMissing(SmsBatchError):
    """The broker has no queue of this name."""


class PublishError(SmsBatchError):
    """A publish did not succeed as far as we know."""


class Unconfirmed(PublishError):
    """The connection went or the deadline passed before the confirm: the message may or may not be in the queue."""


class Rejected(PublishError):
    """The broker refused the message (basic.nack), because a queue is at its length limit or has no quorum."""


class Unroutable(PublishError):
    """The broker returned the message (basic.return): no queue is bound for its exchange and routing key."""


class LedgerUnavailable(SmsBatchError):
    """The database cannot be reached at the moment."""


class LedgerBroken(SmsBatchError):
    """The database refuses a statement for good: a missing table or privilege, damage, or a defect of ours; the service
    ends."""


class BatchConflict(SmsBatchError):
    """A batch with this id and another content is already in the ledger."""


class BatchCancelled(SmsBatchError):
    """The batch was cancelled: nothing of it is sent again."""


class NothingToResend(SmsBatchError):
    """A batch has no number that could be sent again; the sentence says why."""


class TemplateExists(SmsBatchError):
    """A template with this id or name is there already."""


class LedgerRefused(SmsBatchError):
    """The database does not take these values; trying again would change nothing."""
