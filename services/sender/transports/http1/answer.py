"""Reading a connection's HTTP answers out of the bytes that arrive; pure."""

from collections.abc import Iterator, Mapping, Sequence

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from services.sender.transports import LONGEST_BODY, HttpAnswer

# Of an answer with all around the body: headers, interim answers, the sizes of chunks, trailers.
_LONGEST_ANSWER = 1024 * 1024

Field = tuple[bytes, bytes]


class MalformedAnswer(Exception):
    """What arrived is not HTTP, or there is no end to it."""


class Fields(Mapping[str, str]):
    """Header fields, told apart without regard to case; of several with one name, the first.

    They are looked at only where something went wrong, so they stay the bytes that arrived until then.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("latin-1", "replace")
        for field, value in self._fields:
            if field.lower() == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({field.lower().decode("latin-1"): None for field, _ in self._fields})

    def __len__(self) -> int:
        return len({field.lower() for field, _ in self._fields})


class _EnoughRead(Exception):
    """Told to the parser, to keep it from reading on."""


class _NotBelieved(Exception):
    """Told to the parser: this is no answer."""


class AnswerReader:
    """Takes one connection's bytes, and gives each answer once it is whole.

    `another_may_follow` tells after an answer whether the connection can be used for another call.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        # As aiohttp's client has it: these keep sloppy servers' answers readable, and cannot make two answers of one.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.another_may_follow = True
        self._received = 0
        self._expect_answer()

    def feed(self, piece: bytes) -> HttpAnswer | None:
        """The answer, if this piece completes it; raises MalformedAnswer, after which nothing may be fed."""
        self._received += len(piece)
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._is_whole:
                raise MalformedAnswer from error
            # The answer itself is sound; what came behind it is not ours.
            self.another_may_follow = False
        if self._is_whole:
            return self._take()
        if self._received > _LONGEST_ANSWER:
            raise MalformedAnswer
        return None

    def end(self) -> HttpAnswer | None:
        """The answer, if the connection's end is what completes it."""
        return self._take() if self._is_in_body and not self._has_own_end() else None

    def _take(self) -> HttpAnswer:
        answer = HttpAnswer(self._status, Fields(self._fields), bytes(self._body))
        self._received = 0
        self._expect_answer()
        return answer

    def _expect_answer(self) -> None:
        self._status = 0
        self._fields: list[Field] = []
        self._body = bytearray()
        self._is_in_body = self._is_whole = False

    def _has_own_end(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._fields)

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        if self._is_whole:
            raise _EnoughRead

    def on_header(self, name: bytes, value: bytes) -> None:
        # As RFC 9110, section 5.5, has it; the leniency that sloppy servers need lets it through.
        if b"\0" in value or b"\0" in name:
            raise _NotBelieved
        if not self._is_in_body:  # else it is a trailer
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._is_in_body = True

    def on_body(self, piece: bytes) -> None:
        self._body += piece
        if len(self._body) > LONGEST_BODY:
            if 200 <= self._status < 300:
                raise _NotBelieved  # nobody knows how it would have gone on
            del self._body[LONGEST_BODY:]
            self._is_whole, self.another_may_follow = True, False
            raise _EnoughRead

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._expect_answer()  # that was an interim one
        else:
            self._is_whole, self.another_may_follow = True, self._parser.should_keep_alive()
