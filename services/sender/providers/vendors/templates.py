"""Our templates at a vendor that takes no text: its code for one, and what fills it, by its names or in its order;
pure."""

from collections.abc import Collection, Mapping, Sequence

from services.sender.providers.gateway import TextMessage
from shared.domain.outcome import CallResult, Verdict
from shared.providers import TemplateMapping

_SHORTEST_VALUE = 4
"""A shorter one of ASCII is in other words by chance."""
_WANTED = {
    dict: 'names, as { ours = "theirs" }',
    list: 'our names in the order of the template, as ["name", "code"]',
}


class Templates:
    """What a vendor calls our templates and their variables: `dict` where it has names for them, `list` where it has an
    order; ValueError for the other."""

    def __init__(self, mappings: Mapping[int, TemplateMapping], kind: type[dict[str, str]] | type[list[str]]) -> None:
        self._mappings = mappings
        for template_id, mapping in mappings.items():
            if mapping.params and not isinstance(mapping.params, kind):
                raise ValueError(f"templates.{template_id}.params: {_WANTED[kind]}")

    def unsendable(self, message: TextMessage) -> CallResult | None:
        """As `Format.unsendable`: without a template that the vendor knows, and each of its variables, there is nothing
        to send."""
        if message.template_id is None:
            return _refused("template_not_mapped", "The batch has no template, and the provider takes nothing else")
        if (mapping := self._mappings.get(message.template_id)) is None:
            return _refused("template_not_mapped", f"The provider has no code for template {message.template_id}")
        missing = next((name for name in mapping.params if name not in message.variables), None)
        return None if missing is None else _refused("missing_variable", f"The variable {missing} has no value")

    def code(self, message: TextMessage) -> str | None:
        """The vendor's code for the message's template; None where it has none."""
        mapping = None if message.template_id is None else self._mappings.get(message.template_id)
        return None if mapping is None else mapping.code

    def names(self, template_id: int) -> Collection[str]:
        """The vendor's names of a template's variables, where it has names."""
        params = self._mappings[template_id].params
        return params.values() if isinstance(params, dict) else ()

    def by_name(self, message: TextMessage) -> Mapping[str, str]:
        """The values by the vendor's names; of a message that can be sent."""
        params = self._params(message)
        named = params.items() if isinstance(params, dict) else ()
        return {theirs: message.variables[ours] for ours, theirs in named}

    def in_order(self, message: TextMessage) -> tuple[str, ...]:
        """The values in the vendor's order; of a message that can be sent."""
        return tuple(message.variables[ours] for ours in self._params(message))

    def _params(self, message: TextMessage) -> dict[str, str] | list[str]:
        return [] if message.template_id is None else self._mappings[message.template_id].params


def with_values(messages: Sequence[TextMessage]) -> Sequence[TextMessage]:
    """The messages with each of their values as a text too: a vendor that takes values quotes them, and not the
    text."""
    values = [
        message._replace(text=value)
        for message in messages
        for value in message.variables.values()
        if len(value) >= _SHORTEST_VALUE or (value and not value.isascii())
    ]
    return [*messages, *values]


def _refused(code: str, reason: str) -> CallResult:
    return CallResult(Verdict.REFUSED, code, reason)
