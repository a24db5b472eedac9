"""The parts of a `multipart/form-data` body (RFC 7578), which is whole and bounded already."""

import re
from collections.abc import Iterator
from email.message import Message
from typing import NamedTuple

from services.api.intake.charsets import codec_of
from services.api.serving.problems import Flaw, Problem, invalid, malformed

CHARSET_FIELD = "_charset_"
"""The field by which a form says the charset of the others (RFC 7578, 4.6); the browser fills it in."""
_LONGEST_HEAD = 2048
_HEADER = re.compile(r"([\w!#$%&'*+.^`|~-]+):(.*)", re.ASCII | re.DOTALL)
_PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*', re.ASCII)
_AS_IT_IS = ("7bit", "8bit", "binary")


class _Part(NamedTuple):
    name: str
    charset: str | None
    is_empty_file: bool
    content: bytes


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type header; Problem where there is none."""
    header = Message()
    header["Content-Type"] = content_type
    try:
        boundary = header.get_boundary()
    except ValueError:  # of the standard library, for parameters that it decodes
        boundary = None
    if not boundary or not boundary.isascii() or len(boundary) > 70:
        raise malformed("The Content-Type has no boundary of 1 to 70 characters")
    return boundary.encode()


def fields_of_parts(body: bytes, boundary: bytes, charset: str | None, most: int) -> Iterator[tuple[str, str]]:
    """Name and value of each part, at most `most` of them; Problem where the body is no such form.

    A part's own charset goes before the request's, and that before the one that the form's `_charset_` field names. A
    part with a file name is a field like others; a file field in which no file was chosen is none.
    """
    if body.count(b"\r\n--" + boundary) > most:
        raise invalid(Flaw("/mobiles", f"The form has more than {most} parts"))
    default = codec_of(charset or _charset_field(body, boundary))
    for part in _parts(body, boundary):
        if part.name == CHARSET_FIELD or part.is_empty_file:
            continue
        try:
            yield part.name, part.content.decode(codec_of(part.charset) if part.charset else default)
        except UnicodeDecodeError:
            raise malformed("The form is not in the charset that it names, or in UTF-8 where it names none") from None


def _charset_field(body: bytes, boundary: bytes) -> str | None:
    if CHARSET_FIELD.encode() not in body:
        return None
    named = (part.content for part in _parts(body, boundary) if part.name == CHARSET_FIELD)
    return next(named, b"").decode("latin-1")


def _parts(body: bytes, boundary: bytes) -> Iterator[_Part]:
    delimiter = b"--" + boundary
    # The first delimiter is the only one that may have no line end before it.
    begin = len(delimiter) if body.startswith(delimiter) else _after(body, b"\r\n" + delimiter, 0)
    while not body.startswith(b"--", begin):
        end = body.find(b"\r\n" + delimiter, begin)
        if end < 0:
            raise malformed("The form's last boundary is missing: it did not come whole")
        yield _part(body, begin, end)
        begin = end + 2 + len(delimiter)


def _after(body: bytes, what: bytes, begin: int) -> int:
    found = body.find(what, begin)
    if found < 0:
        raise malformed("The form has no part with the boundary of its Content-Type")
    return found + len(what)


def _part(body: bytes, begin: int, end: int) -> _Part:
    # The line of the delimiter ends, then come the headers, then an empty line; a part may have no header at all.
    head_end = body.find(b"\r\n\r\n", begin, end + 2)
    if head_end < 0 or head_end - begin > _LONGEST_HEAD:
        raise malformed(f"A part of the form has no headers, or more than {_LONGEST_HEAD} bytes of them")
    name, charset, file_name = _read_head(body[begin:head_end].decode("utf-8", "replace"))
    content = body[head_end + 4 : max(head_end + 4, end)]
    return _Part(name, charset, file_name == "" and not content, content)


def _read_head(head: str) -> tuple[str, str | None, str | None]:
    """The field's name, its charset and its file's name."""
    padding, *lines = head.split("\r\n")
    headers = dict(_header(line) for line in lines)
    disposition, parameters = _value(headers.get("content-disposition", ""))
    if padding.strip(" \t") or disposition != "form-data" or "name" not in parameters:
        raise malformed("A part of the form has no Content-Disposition: form-data with a name")
    if headers.get("content-transfer-encoding", "binary").strip().lower() not in _AS_IT_IS:
        raise _encoded()
    charset = _value(headers.get("content-type", ""))[1].get("charset")
    return parameters["name"], charset, parameters.get("filename")


def _encoded() -> Problem:
    return malformed("A part of the form has a Content-Transfer-Encoding: send it as it is")


def _header(line: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    if found is None:
        raise malformed("A part of the form has a line that is no header")
    return found[1].lower(), found[2]


def _value(header: str) -> tuple[str, dict[str, str]]:
    value, semicolon, rest = header.partition(";")
    parameters, place, text = dict[str, str](), 0, semicolon + rest
    while found := _PARAMETER.match(text, place):
        quoted = found[2]
        parameters.setdefault(found[1].lower(), found[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        place = found.end()
    return value.strip().lower(), parameters
