"""What a text from a handset asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.opt_out import START_WORDS, STOP_WORDS, Wish, fold, wish_of


@pytest.mark.parametrize("word", sorted(STOP_WORDS))
@pytest.mark.parametrize("written", ["{}", " {}! ", "{}。"])
def test_each_word_alone_is_obeyed(word: str, written: str) -> None:
    assert wish_of(written.format(word.lower())) is Wish.STOP


@pytest.mark.parametrize("word", sorted(START_WORDS))
def test_each_word_that_starts_again_counts_alone(word: str) -> None:
    assert wish_of(word.title()) is Wish.START


@pytest.mark.parametrize(
    "text",
    [
        "ＳＴＯＰ",
        "Stop please",
        "stop.",
        "Opt-Out",
        "opt_out now",
        "arrêt",
        "退订！",
        "退订吧谢谢",
        "退訂",
        "ｔｄ",
        "Stop it now",
    ],
)
def test_it_is_told_in_many_spellings(text: str) -> None:
    assert wish_of(text) is Wish.STOP


@pytest.mark.parametrize(
    "text",
    [
        "YES, STOP",
        "Yes please stop",
        "Subscribe? no, stop",
        "订阅取消",
        "don’t text me again",
        "do not send me this any more",
        "I want to opt-out",
        "please take me off",
        "Cancel my appointment",
        "请STOP",
        "UNSUB",
        "别再发了",
        "你们发错了",
        "stop by my office when you have a minute",
    ],
)
def test_what_may_ask_for_it_waits_for_a_person(text: str) -> None:
    assert wish_of(text) is Wish.MAYBE_STOP


@pytest.mark.parametrize(
    "text",
    [
        "See you at eight",
        "T shirt please",
        "End of month",
        "恢复正常了吗",
        "Yes, see you there",
        "收到，谢谢",
        "I do not know",
        "",
    ],
)
def test_other_texts_ask_for_nothing(text: str) -> None:
    assert wish_of(text) is Wish.NONE


def test_further_words_count_as_the_usual_ones_do() -> None:
    assert wish_of("Basta!", STOP_WORDS | {"basta"}) is Wish.STOP
    assert wish_of("basta") is Wish.NONE


@given(text=st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert wish_of(text) in Wish
    assert fold(fold(text)) == fold(text)
