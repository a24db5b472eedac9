"""Deliberate breakages of the code, each with the scenarios that have to notice it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a file, which is there exactly once, and what replaces it."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Breakage:
    """A mistake that somebody could make. Every one of `scenarios` has to fail with it; `only` is pytest's -k, and
    names the run of a scenario that is quickest to show it."""

    mistake: str
    edits: tuple[Edit, ...]
    scenarios: tuple[int, ...]
    only: str = ""


_PIPELINE, _PUBLISHER = "services/sender/pipeline.py", "shared/amqp/publisher.py"

BREAKAGES = (
    Breakage(
        "api: a key is remembered before the confirm",
        (
            Edit(
                "services/api/intake/accepting.py",
                '            crash_at("api.publishing")\n',
                "            await self._acceptances.accepted(batch_id, mine, keyed=keyed)\n"
                '            crash_at("api.publishing")\n',
            ),
        ),
        (1,),
        "in_redis",
    ),
    Breakage(
        "api: the Idempotency-Key is ignored",
        (Edit("services/api/intake/accepting.py", "if key is None else await self._keyed_id(key)", ""),),
        (2, 25),
        "in_the_ledger or fifty",
    ),
    Breakage(
        "every service: deliveries are acked when they are taken (auto-ack)",
        (
            Edit(
                "shared/amqp/consumer.py",
                "channel.basic_consume(queue, partial(self._on_message, queue, acks))",
                "channel.basic_consume(queue, partial(self._on_message, queue, acks), auto_ack=True)",
            ),
            Edit("shared/amqp/acking.py", "        if tags and self._channel.is_open:\n", "        if not tags:\n"),
        ),
        (3, 5),
        "between_its_steps and written or only_received",
    ),
    Breakage(
        "sender: no claim, whoever has a message may send",
        (
            Edit(
                "shared/domain/message.py",
                "row.attempt == attempt and row.state in CLAIMABLE and row.batch_state in CLAIMABLE_BATCH",
                "bool(row)",
            ),
            Edit(
                "shared/ledger/sending_sql.py",
                "m.attempt = w.attempt AND m.resent_in IS NULL AND m.state IN",
                "true OR m.state IN",
            ),
        ),
        (4, 8, 9, 10, 24),
        "all_is_done and confirmed or recorded_is_skipped or two_copies or ten_thousand_copies or whatever_dies",
    ),
    Breakage(
        "sender: an unclear call is made again",
        (
            Edit(
                "shared/domain/outcome.py", "        case Verdict.UNCLEAR if not may_resend:\n", "        case None:\n"
            ),
            Edit(
                "shared/domain/outcome.py",
                "    if result.verdict is Verdict.UNCLEAR:\n        return _ended(State.UN",
                "    if False:\n        return _ended(State.UN",
            ),
        ),
        (6, 7, 19),
        "during_its_calls and hold or calls_of_a_killed and hold or nobody_recorded and hold or unclear_answer",
    ),
    Breakage(
        "every service: one ack stands for all that is in hand",
        (
            Edit(
                "shared/amqp/acking.py",
                "return [*through, *((tag, False) for tag in sorted(fresh))]",
                "return [(0, True)]",
            ),
        ),
        (8,),
        "recorded_is_skipped and 250",
    ),
    Breakage(
        "dispatcher: a lost connection counts as a confirm",
        (
            Edit(
                _PUBLISHER,
                'Unconfirmed("the connection to the broker was lost"))\n        self._returned',
                "None)\n        self._returned",
            ),
        ),
        (14,),
        "cut_again",
    ),
    Breakage(
        "every service: a connection that was lost stays lost",
        (
            Edit(
                "shared/amqp/reconnecting.py",
                "        if not is_over():\n            await asyncio.sleep(pause_s",
                "        if not is_over():\n            await asyncio.Event().wait()\n"
                "            await asyncio.sleep(pause_s",
            ),
        ),
        (11, 12, 15),
        "confirmed_message or restarted or majority",
    ),
    Breakage(
        "sender: acked before what follows is published",
        (
            Edit(
                "shared/amqp/settle.py",
                "    pause_s = _FIRST_PAUSE_S\n",
                "    pause_s = _FIRST_PAUSE_S\n    for settlement in waiting:\n        settlement.delivery.ack()\n",
            ),
            Edit(
                "shared/amqp/settle.py",
                "                settlement.delivery.ack()\n        waiting",
                "                continue\n        waiting",
            ),
        ),
        (16,),
        "memory",
    ),
    Breakage(
        "topology: dead letters that may be returned 20 times",
        (Edit("shared/topology.py", "PEEK_LIMIT = 1_000_000", "PEEK_LIMIT = 20"),),
        (31,),
        "reject_in_the_ui",
    ),
    Breakage(
        "api: accepted whatever a policy may lose",
        (Edit("services/api/intake/accepting.py", "        if not policies.lets_accept:\n", "        if False:\n"),),
        (35,),
        "messages_expire",
    ),
    Breakage(
        "api: a 202 without a confirm",
        (
            Edit(
                "shared/amqp/confirming.py",
                "publisher_confirms=True, on_return_raises=True",
                "publisher_confirms=False, on_return_raises=False",
            ),
        ),
        (13,),
        "frozen",
    ),
    Breakage(
        "every service: a nack counts as a confirm",
        (Edit(_PUBLISHER, "        if rejected:\n", "        if rejected and not group:\n"),),
        (17,),
    ),
    Breakage(
        "sender: no circuit",
        (
            Edit(
                "services/sender/circuit.py",
                "        return self.failures >= _CALLS_IN_A_ROW or self.numbers >= _NUMBERS_IN_A_ROW\n",
                "        return False\n",
            ),
        ),
        (18,),
        "killed",
    ),
    Breakage(
        "sender: unclear answers leave the circuit closed",
        (
            Edit(
                "services/sender/circuit.py",
                "        if result.verdict not in _LONGEST_PAUSES_S:\n",
                "        if result.verdict is Verdict.UNCLEAR:\n            return False\n"
                "        if result.verdict not in _LONGEST_PAUSES_S:\n",
            ),
        ),
        (34,),
    ),
    Breakage(
        "sender: no rate, and no pause for all",
        (
            Edit(
                "services/sender/rate_limiter.py",
                '"""Whether there is a rate."""\n        return self._per_s is not None\n',
                '"""Whether there is a rate."""\n        return False\n',
            ),
            Edit(
                "services/sender/rate_limiter.py",
                "(await when_ledger_answers(self._gates.standings)).get(self._provider)",
                "await asyncio.sleep(0)",
            ),
            Edit(
                "services/sender/rate_limiter.py",
                "from shared.ledger.provider_gates",
                "import asyncio\n\nfrom shared.ledger.provider_gates",
            ),
            Edit(
                "services/sender/circuit.py",
                "        return self.failures >= _CALLS_IN_A_ROW or self.numbers >= _NUMBERS_IN_A_ROW\n",
                "        return False\n",
            ),
        ),
        (20,),
    ),
    Breakage(
        "sender: a 503 is held to be unclear",
        (Edit("services/sender/providers/plain/classify.py", "_THROTTLED, _UNAVAILABLE, 521", "_THROTTLED, 521"),),
        (21,),
        "503",
    ),
    Breakage(
        "sender: a message that nobody can read is dropped",
        (
            Edit(
                "services/sender/turn_reader.py",
                "elsewhere.append(Settlement(delivery, self._follow_ups.unreadable(delivery, str(error), now)))",
                "elsewhere.append(Settlement(delivery))",
            ),
        ),
        (22,),
    ),
    Breakage(
        "sender: no isolation of what came back often",
        (
            Edit(
                "shared/amqp/messages.py", "        return self.returns >= _SUSPECT_RETURNS\n", "        return False\n"
            ),
            Edit(
                "shared/amqp/messages.py", "        return self.returns >= _POISON_RETURNS\n", "        return False\n"
            ),
        ),
        (23,),
        "crashes_senders",
    ),
    Breakage(
        "api: without Redis nothing goes",
        (
            Edit(
                "shared/cache.py",
                "        except (RedisError, OSError, TimeoutError) as error:\n",
                "        except EOFError as error:\n",
            ),
        ),
        (26,),
        "gone",
    ),
    Breakage(
        "workers: the database is not waited for",
        (
            Edit(
                "shared/ledger/waiting.py",
                "        except LedgerUnavailable as error:\n",
                "        except EOFError as error:\n",
            ),
        ),
        (27,),
    ),
    Breakage(
        "dispatcher: no recovery",
        (Edit("services/dispatcher/__main__.py", '        "recovery": recovery.run,\n', ""),),
        (28,),
        "queue_deleted_in_the_middle and bulk",
    ),
    Breakage(
        "sender: told to stop, it stops at once",
        (
            Edit(
                "shared/worker.py",
                "            await lifecycle.within(self._settings.drain_timeout_s, self._drained(drain))\n",
                "",
            ),
        ),
        (29,),
    ),
    Breakage(
        "api: bodies of any size",
        (
            Edit(
                "services/api/serving/body_reader.py",
                "if request.content_length is not None and request.content_length > self._max_body_bytes:",
                "if False:",
            ),
            Edit(
                "services/api/serving/body_reader.py", "if len(body) + len(chunk) > self._max_body_bytes:", "if False:"
            ),
        ),
        (30,),
    ),
    Breakage(
        "sender: a cancelled or paused batch is sent all the same",
        (
            Edit(
                "shared/domain/message.py",
                "CLAIMABLE_BATCH = frozenset({BatchState.RUNNING, BatchState.FINISHED})",
                "CLAIMABLE_BATCH = frozenset(BatchState)",
            ),
            Edit(
                "shared/domain/message.py",
                "State.RETRYING, State.FAILED})",
                "State.RETRYING, State.FAILED, State.CANCELLED})",
            ),
        ),
        (32,),
    ),
    Breakage(
        "workers: each goes by its machine's clock, whatever it says",
        (
            Edit(
                "shared/clock.py",
                "now_ns = time.time_ns() if _began_at_ns is None else uptime_ns() + _began_at_ns",
                "now_ns = time.time_ns()",
            ),
            Edit("shared/ledger/clock.py", "abs(self.difference_ns) <= _MOST_NS", "True"),
        ),
        (36,),
        "hour_slow",
    ),
    Breakage(
        "ledger: refused logins are no outage",
        (
            Edit(
                "shared/ledger/database.py",
                '_NOT_LET_IN = frozenset({"28", "3D"})',
                "_NOT_LET_IN: frozenset[str] = frozenset()",
            ),
        ),
        (37,),
        "change_password-3",
    ),
    Breakage(
        "ledger: who only reads stays with the old primary",
        (Edit("shared/ledger/database.py", "        raise InvalidatePoolError\n", "        return\n"),),
        (38,),
        "demote",
    ),
    Breakage(
        "sender: a provider's pause is kept however long it is",
        (
            Edit(
                "services/sender/providers/gateway.py",
                "        if result.retry_after_s is None or result.retry_after_s <= self._longest_pause_s:\n",
                "        if result:\n",
            ),
        ),
        (39,),
        "probe",
    ),
    Breakage(
        "sender: a pause that is lifted is waited out",
        (
            Edit(
                "services/sender/pipeline.py",
                "await asyncio.sleep(min(wait_s, held_until_s - now_s, _LOOK_AT_CIRCUIT_EVERY_S))",
                "await asyncio.sleep(min(wait_s, held_until_s - now_s))",
            ),
        ),
        (39,),
        "operator",
    ),
    Breakage(
        "sender: what the provider says of our account ends the number",
        (
            Edit(
                "services/sender/providers/plain/classify.py", "    if status in _ABOUT_US:\n", "    if status == 0:\n"
            ),
        ),
        (40,),
        "401",
    ),
    Breakage(
        "sender: what waits for a stopped provider is acked, and not fed again",
        (
            Edit(
                "services/sender/handing_back.py",
                "        if turns := await self._stale.moved_without_call(turns, FEED_AGAIN):\n",
                "        for delivery in deliveries:\n            delivery.ack()\n        if turns := []:\n",
            ),
        ),
        (41, 42),
    ),
    Breakage(
        "sender: a gateway that was made of the file read again is not opened",
        (Edit("services/sender/open_gateways.py", "        await gateway.open()\n", ""),),
        (43,),
    ),
    Breakage(
        "sender: serves providers that it was not told to",
        (
            Edit(
                "services/sender/settings.py",
                "if not self.providers or name in self.providers)",
                "if name)",
            ),
        ),
        (44,),
    ),
    Breakage(
        "dispatcher: a receipt that comes before the record is taken for settled",
        (
            Edit(
                "services/dispatcher/receipts.py",
                "if fate in (Fate.EARLY, Fate.UNMATCHED)]",
                "if fate is Fate.UNMATCHED]",
            ),
        ),
        (45,),
    ),
)
