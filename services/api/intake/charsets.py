"""The charsets in which forms are read, by the names that the WHATWG Encoding Standard has for them."""

from http import HTTPStatus

from services.api.serving.problems import Problem

_CODECS = {
    "utf-8": ("utf-8", "utf8", "unicode-1-1-utf-8", "us-ascii", "ascii"),
    # GB 18030 reads every text of the two standards before it.
    "gb18030": ("gb18030", "gbk", "gb2312", "gb_2312", "gb_2312-80", "x-gbk", "cp936", "csgb2312", "iso-ir-58"),
    # What Java's HTTP clients name where nobody says anything.
    "latin-1": ("iso-8859-1", "iso8859-1", "latin1", "l1"),
}
_BY_NAME = {name: codec for codec, names in _CODECS.items() for name in names}
DEFAULT = "utf-8"


def codec_of(charset: str | None) -> str:
    """Python's codec for a charset, UTF-8 where none is named; Problem for one that is not read."""
    name = (charset or DEFAULT).strip().lower()
    if name not in _BY_NAME:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the form in UTF-8, GB18030, GBK or GB2312")
    return _BY_NAME[name]
