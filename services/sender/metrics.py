"""What a sender counts and measures."""

from prometheus_client import Counter, Gauge, Histogram

from shared.domain.states import State

OUTCOMES = Counter("sms_sender_outcomes_total", "Outcomes of attempts, by the number's new state", ["state"])
UNCLAIMED = Counter(
    "sms_sender_unclaimed_total", "Deliveries whose row could not be claimed, by what was done", ["step"]
)
UNREADABLE = Counter("sms_sender_unreadable_total", "Messages that nobody can read")
PROVIDER_SECONDS = Histogram("sms_sender_provider_seconds", "Duration of one provider call", ["provider", "verdict"])
FUSES_BLOWN = Counter("sms_sender_fuses_blown_total", "Batches that paused themselves because of their content")
CALLS_IN_FLIGHT = Gauge("sms_sender_calls_in_flight", "Provider calls under way", ["provider"])
CIRCUIT_OPEN = Gauge("sms_sender_circuit_open", "1 while the provider as a whole is held to be down", ["provider"])
PROVIDER_HELD = Gauge("sms_sender_provider_held", "1 while all senders pause, by cause", ["provider", "cause"])

# A counter that begins at 0 shows its first increase; one that appears with its first event does not.
for _state in (State.SENT, State.RETRYING, State.FAILED, State.UNKNOWN, State.EXPIRED):
    OUTCOMES.labels(_state)
