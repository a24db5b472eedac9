"""Which language a 202 speaks."""

import pytest

from services.api.intake.accepted_sentence import accepted_sentence

CHINESE = "请求已接收，短信发送任务已启动"


@pytest.mark.parametrize(
    "header", ["zh-CN", "zh", "ZH-hans", "zh-CN,zh;q=0.9,en;q=0.8", "en;q=0.5, zh", "fr, zh;q=0.1", "zh,en", "zh; q=1"]
)
def test_chinese_where_it_is_preferred(header: str) -> None:
    assert accepted_sentence(header) == CHINESE


@pytest.mark.parametrize(
    "header", ["", "*", "en", "en-GB,en;q=0.9,zh;q=0.8", "en,zh", "zh;q=0", "zh;q=x", "de", "zhx", ";;,q=,"]
)
def test_english_everywhere_else(header: str) -> None:
    assert accepted_sentence(header).startswith("The request was accepted")
