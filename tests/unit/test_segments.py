"""How many segments a text takes, against another implementation of the same standard."""

import pytest
import smsutil
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.segments import Encoding, Segments, count_segments

GSM_7 = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"


def long_texts(alphabet: str) -> st.SearchStrategy[str]:
    """Texts around the lengths where the number of segments changes: a long run, and something drawn after it."""
    runs = st.builds(lambda character, times: character * times, st.sampled_from(alphabet), st.integers(0, 320))
    return st.builds("{}{}{}".format, st.text(alphabet, max_size=20), runs, st.text(alphabet, max_size=20))


@settings(deadline=None, max_examples=300)
@given(text=long_texts(GSM_7 + EXTENSION).filter(bool))
def test_gsm_7_texts_are_counted_as_smsutil_counts_them(text: str) -> None:
    oracle = smsutil.split(text)
    assert oracle.encoding == "gsm0338"
    assert count_segments(text) == Segments(Encoding.GSM_7, oracle.total_bytes, len(oracle.parts))


@settings(deadline=None, max_examples=300)
@given(text=long_texts("你好，世界aÅ{😀🀄").filter(lambda text: not set(text) <= set(GSM_7 + EXTENSION)))
def test_ucs_2_texts_are_counted_as_smsutil_counts_them(text: str) -> None:
    oracle = smsutil.split(text)
    assert oracle.encoding == "utf_16_be"
    assert count_segments(text) == Segments(Encoding.UCS_2, oracle.total_bytes // 2, len(oracle.parts))


@pytest.mark.parametrize("character", GSM_7 + EXTENSION)
def test_every_character_of_the_gsm_7_alphabet_is_in_it(character: str) -> None:
    assert count_segments(character) == Segments(Encoding.GSM_7, 2 if character in EXTENSION else 1, 1)


@pytest.mark.parametrize("character", ["ç", "`", "\t", "ê", "中", "‘", "\u00a0", "\x1b"])
def test_one_character_from_outside_makes_the_whole_text_ucs_2(character: str) -> None:
    assert count_segments("a" * 69 + character) == Segments(Encoding.UCS_2, 70, 1)
    assert count_segments("a" * 70 + character) == Segments(Encoding.UCS_2, 71, 2)


@pytest.mark.parametrize(
    ("text", "units", "segments"),
    [
        ("", 0, 1),
        ("a" * 160, 160, 1),
        ("a" * 161, 161, 2),
        ("a" * 306, 306, 2),
        ("a" * 307, 307, 3),
        ("€" * 80, 160, 1),
        ("a" * 152 + "€" + "a" * 152, 306, 3),
    ],
)
def test_gsm_7_has_room_for_160_septets_or_153_in_each_of_several_parts(text: str, units: int, segments: int) -> None:
    assert count_segments(text) == Segments(Encoding.GSM_7, units, segments)


@pytest.mark.parametrize(
    ("text", "units", "segments"),
    [
        ("中" * 70, 70, 1),
        ("中" * 71, 71, 2),
        ("中" * 134, 134, 2),
        ("中" * 135, 135, 3),
        ("😀" * 35, 70, 1),
        ("中" * 66 + "😀" + "中" * 66, 134, 3),
    ],
)
def test_ucs_2_has_room_for_70_units_or_67_in_each_of_several_parts(text: str, units: int, segments: int) -> None:
    assert count_segments(text) == Segments(Encoding.UCS_2, units, segments)
