"""Phone numbers: what people type, as E.164, and what may be shown of it."""

import re
from urllib.parse import urlencode

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.intake.forms import members_of_form
from shared.domain.phone import InvalidNumber, _normalise_any, mask, normalise

MOBILE = "+8613800138000"
mainland_mobiles = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)


@pytest.mark.parametrize(
    "typed",
    [
        "13800138000",
        " 13800138000 ",
        "138 0013 8000",
        "138-0013-8000",
        "(138) 0013.8000",
        "138\u00a00013\u00a08000",
        "138\t0013\t8000",
        "13800138000\r\n",
        "+8613800138000",
        "+86 138 0013 8000",
        "8613800138000",
        "008613800138000",
        "0086 138 0013 8000",
        "+86-138-0013-8000",
        "１３８００１３８０００",
        "＋8613800138000",
        "'13800138000",
        '="13800138000"',
        '"13800138000"',
        "tel:+86-138-0013-8000",
        "13800138000.0",
        "+8613800138000.00",
        "138.0013.8000",
        "13.800.138.000",
        "\u202d13800138000\u202c",
        "\ufeff138\u200b0013\u20608000\ufe0f",
        "138\u202f0013\u20098000",
        "1\u00ad3800138000",
    ],
)
def test_every_usual_spelling_of_a_mainland_mobile_number_is_one_number(typed: str) -> None:
    assert normalise(typed, "CN") == MOBILE


@pytest.mark.parametrize(
    ("typed", "region", "number"),
    [
        ("+1 (650) 253-0000", "CN", "+16502530000"),
        ("(650) 253-0000", "US", "+16502530000"),
        ("07911 123456", "GB", "+447911123456"),
        ("+39 06 698 12345", "CN", "+390669812345"),
        ("+86 138 0013 8000", "US", MOBILE),
        ("010 1234 5678", "CN", "+861012345678"),
        ("+852 5123 4567", "CN", "+85251234567"),
        ("+85291234568.0", "CN", "+85291234568"),
        ("+85291234568.00", "US", "+85291234568"),
        ("+33.6.12.34.56.78", "CN", "+33612345678"),
        ("06.12.34.56.78", "FR", "+33612345678"),
        ("06.12.34.56.00", "FR", "+33612345600"),
        ("138.0013.80.00", "CN", "+8613800138000"),
        ("0171.23.45.67.00", "DE", "+4917123456700"),
        ("98.76.54.32.00", "IN", "+919876543200"),
    ],
)
def test_a_number_is_read_as_dialled_in_the_region_unless_it_has_a_plus(typed: str, region: str, number: str) -> None:
    assert normalise(typed, region) == number


@pytest.mark.parametrize(
    "number", [MOBILE, "+16502530000", "+447911123456", "+390669812345", "+861012345678", "+85251234567"]
)
def test_a_normalised_number_normalises_to_itself(number: str) -> None:
    assert normalise(number, "CN") == normalise(number, "US") == number


def test_eleven_digits_that_look_like_a_mainland_mobile_are_none_elsewhere() -> None:
    assert normalise("15550138000", "US") == "+15550138000"


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "Not a phone number"),
        ("+", "Not a phone number"),
        ("hello", "Not a phone number"),
        ("\x00", "Not a phone number"),
        ("1" * 300, "Not a phone number"),
        ("110", "Too few digits for a phone number of its country"),
        ("+1 650 253 00001", "Too many digits for a phone number of its country"),
        ("+999 123456789", "Unknown country calling code"),
        ("+1 253 0000", "A local number without its area code"),
        ("+85291234568.5", "A dot that groups no digits: perhaps a decimal number from a spreadsheet"),
        ("13800138.000", "A dot that groups no digits: perhaps a decimal number from a spreadsheet"),
        ("+85291234568-0", "One or two digits behind a whole number: write it without them"),
        ("13800138000 / 0", "One or two digits behind a whole number: write it without them"),
        ("1.38001E+10", "A spreadsheet's notation of a large number, digits are lost: format the column as text"),
        ("138\u20ac0013", "Not a phone number: it has the character U+20AC"),
        ("+65 123456789", "No phone number of its country has this many digits"),
    ],
)
def test_what_cannot_be_a_number_says_why(typed: str, reason: str) -> None:
    number = normalise(typed, "CN")
    assert isinstance(number, InvalidNumber)
    assert number.reason == reason
    assert number.code == ("spreadsheet_notation" if "spreadsheet's" in reason else "invalid_number")


@settings(deadline=None)
@given(mobile=mainland_mobiles, prefix=st.sampled_from(["", "+86", "86", "0086", "+86 "]))
def test_the_fast_way_for_mainland_mobiles_says_what_the_library_says(mobile: str, prefix: str) -> None:
    assert normalise(prefix + mobile, "CN") == _normalise_any(prefix + mobile, "CN") == f"+86{mobile}"


@settings(deadline=None)
@given(typed=st.from_regex(r"\+?[0-9]{5,16}", fullmatch=True) | st.text("0123456789+- ()x", max_size=20))
def test_a_normalised_number_is_e164_and_reads_the_same_in_every_region(typed: str) -> None:
    number = normalise(typed, "CN")
    if isinstance(number, str):
        assert number[0] == "+"
        assert set(number[1:]) <= set("0123456789")
        assert normalise(number, "CN") == normalise(number, "US") == normalise(number, "GB")


@settings(deadline=None)
@given(typed=st.text(max_size=70))
def test_no_input_is_too_strange_for_an_answer_and_the_answer_does_not_quote_it(typed: str) -> None:
    number = normalise(typed, "CN")
    if isinstance(number, InvalidNumber):
        assert not any(character.isdigit() for character in re.sub(r"U\+[0-9A-F]{4,6}", "", number.reason))


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800138000", "+86138****8000"),
        ("13800138000", "138****8000"),
        ("+16502530000", "+165****0000"),
        ("+4512345678", "+45****5678"),
        ("+999123456789012", "+99912****9012"),
        ("12345678", "****5678"),
        ("1234567", "*******"),
        ("", ""),
    ],
)
def test_a_number_is_shown_by_its_beginning_and_its_last_four_digits(number: str, shown: str) -> None:
    assert mask(number) == shown


@settings(deadline=None)
@given(number=st.from_regex(r"\+?[0-9]{1,40}", fullmatch=True))
def test_a_mask_shows_at_most_six_characters_and_four_and_never_the_four_before_the_last_four(number: str) -> None:
    head, stars, tail = mask(number).partition("****")
    if len(number) < 8:
        assert set(mask(number)) == {"*"}
        return
    assert stars
    assert len(head) <= 6
    assert number.startswith(head)
    assert tail == number[-4:]
    assert len(head) + len(tail) <= len(number) - 4


@pytest.mark.parametrize("typed", ["1-800-FLOWERS", "13800138000;13900139000", "13800138000 ext 5", "1380013800O"])
def test_what_is_more_than_one_number_or_has_letters_is_no_number_that_somebody_meant(typed: str) -> None:
    assert isinstance(normalise(typed, "CN"), InvalidNumber)


@pytest.mark.parametrize(
    ("after_a_blank", "region", "number"),
    [
        (" 8613800138000", "CN", "+8613800138000"),
        (" 8613800138000", "US", "+8613800138000"),
        (" 447911123456", "CN", "+447911123456"),
        (" 33612345678", "CN", "+33612345678"),
        (" 79123456789", "CN", "+79123456789"),
        (" 2025550124", "US", "+12025550124"),
        (" 91234567", "HK", "+85291234567"),
        (" 9123456789", "IN", "+919123456789"),
        (" 612345678", "ES", "+34612345678"),
        (" 32123456", "DK", "+4532123456"),
        (" 81234567", "SG", "+6581234567"),
        (" 40612345", "NO", "+4740612345"),
        (" 4740612345", "NO", "+4740612345"),
    ],
)
def test_a_blank_was_a_plus_only_where_the_digits_cannot_be_a_number_of_the_region(
    after_a_blank: str, region: str, number: str
) -> None:
    assert normalise(after_a_blank, region) == number


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_a_form_gives_the_same_numbers_as_a_list_whatever_stands_between_them(region: str) -> None:
    mobile = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if mobile is None:
        assert region in WITHOUT_MOBILE_EXAMPLE
        return
    written = [
        phonenumbers.format_number(mobile, phonenumbers.PhoneNumberFormat.NATIONAL),
        phonenumbers.national_significant_number(mobile),
        phonenumbers.format_number(mobile, phonenumbers.PhoneNumberFormat.E164),
    ]
    expected = [normalise(number, region) for number in written]
    for between in (", ", ",", ";", "\r\n", " ,  "):
        body = urlencode({"mobiles": between.join(written)}).encode()
        recipients = members_of_form(body, 100)["recipients"]
        assert [normalise(number, region) for number in recipients] == expected


WITHOUT_MOBILE_EXAMPLE = frozenset({"AC", "TA"})
