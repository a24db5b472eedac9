"""From deliveries to turns: what cannot be read, and what came before its time, is settled on the way."""

from collections.abc import Sequence

from services.sender import metrics
from services.sender.follow_ups import FollowUps
from services.sender.stages import Turn
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.errors import UnreadableMessage
from shared.messages import read_outbound
from shared.running_tasks import RunningTasks


class TurnReader:
    """Reads deliveries; settles in the background those that are not to be looked at further."""

    def __init__(self, publisher: Publisher, follow_ups: FollowUps, under_way: RunningTasks) -> None:
        self._publisher, self._follow_ups, self._under_way = publisher, follow_ups, under_way

    def ready(self, deliveries: Sequence[Delivery]) -> list[Turn]:
        """The readable messages whose time has come; the others are on their way elsewhere."""
        turns, elsewhere, now = [], [], now_ms()
        for delivery in deliveries:
            try:
                message = read_outbound(delivery.type, delivery.body)
            except UnreadableMessage as error:
                metrics.UNREADABLE.inc()
                elsewhere.append(Settlement(delivery, self._follow_ups.unreadable(delivery, str(error), now)))
                continue
            if (message.not_before_ms or 0) > now:
                later = self._follow_ups.later(message, message.attempt, message.not_before_ms or now, now)
                elsewhere.append(Settlement(delivery, later))
            else:
                turns.append(Turn(delivery, message))
        if elsewhere:
            self._under_way.begin(settle(elsewhere, self._publisher))
        return turns
