"""Names that nothing else has."""

import secrets
import string


def unlike_a_number() -> str:
    """Eight letters: eight hexadecimal digits may all be decimal ones, and a log masks those as a phone number's."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
