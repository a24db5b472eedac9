"""A batch's fuse: where its messages are refused one after another because of what it says, it pauses itself."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key
from shared.domain.outcome import Outcome
from shared.domain.states import ACCEPTED, State
from shared.ledger.tables import counter


@dataclass(frozen=True, slots=True)
class Fuse:
    """How many messages in a row may be refused because of the content: from a batch's first one on, and later, when
    others were sent or a person has resumed it. 0 for any number."""

    first: int = 50
    later: int = 200


NEVER = Fuse(0, 0)


class Blown(NamedTuple):
    """A batch that has paused itself, and the code of the last refusals."""

    batch_id: str
    code: str
    refused: int


async def burn(connection: AsyncConnection, fuse: Fuse, ended: Iterable[tuple[Key, Outcome]]) -> list[Blown]:
    """Count what has just been refused, in the transaction that wrote it, when the batches' counters are up to date;
    which batches have paused themselves."""
    codes: dict[str, Counter[str]] = {}
    for (batch_id, _row), outcome in ended:
        if outcome.state is State.FAILED and outcome.about_content:
            codes.setdefault(batch_id, Counter())[outcome.code or ""] += 1
    blown = []
    for batch_id in sorted(codes):
        ((code, _number),) = codes[batch_id].most_common(1)
        values = {"batch_id": batch_id, "code": code, "refused": codes[batch_id].total()}
        run, is_first = (await connection.execute(_COUNT, values)).one()
        limit = fuse.first if is_first else fuse.later
        if limit and run >= limit:
            reason = f"{run} messages in a row were refused because of the content: {code}"
            paused = await connection.execute(_PAUSE, {"batch_id": batch_id, "reason": reason})
            if paused.rowcount:
                blown.append(Blown(batch_id, code, run))
    return blown


# In a row: nothing of the batch was sent since the first of them. What is refused for its number says nothing of the
# content, and another provider has another code for the same thing.
_ACCEPTED = " + ".join(sorted(map(counter, ACCEPTED)))
_COUNT = text(f"""
    UPDATE batches SET fuse_code = :code, fuse_sent = {_ACCEPTED},
           fuse_run = CASE WHEN fuse_sent = {_ACCEPTED} THEN fuse_run + :refused ELSE :refused END
    WHERE id = :batch_id RETURNING fuse_run, {_ACCEPTED} = 0 AND fuse_blown = 0
""")  # noqa: S608 - our own column names
_PAUSE = text("""
    UPDATE batches SET state = 'paused', paused_by = 'fuse', paused_reason = :reason, fuse_blown = fuse_blown + 1
    WHERE id = :batch_id AND state IN ('running', 'scheduled')
""")
