"""The sentence in a 202, in the reader's language."""

_ENGLISH = "The request was accepted; the messages are being sent"
_CHINESE = "请求已接收，短信发送任务已启动"


def accepted_sentence(accept_language: str) -> str:
    """Chinese where `Accept-Language` (RFC 9110, 12.5.4) prefers it to English, English otherwise."""
    weights = {"zh": 0.0, "en": 0.0}
    for item in accept_language.split(","):
        language, _, parameter = item.strip().partition(";")
        primary = language.strip().lower().partition("-")[0]
        if primary in weights:
            weights[primary] = max(weights[primary], _quality(parameter))
    return _CHINESE if weights["zh"] > weights["en"] or _chinese_is_first(accept_language, weights) else _ENGLISH


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _chinese_is_first(accept_language: str, weights: dict[str, float]) -> bool:
    equal = weights["zh"] == weights["en"] > 0
    return equal and accept_language.strip().lower().startswith("zh")
