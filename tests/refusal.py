"""What a call says that is refused."""

import pytest


def refusal(error, call, *arguments, **options) -> str:
    """Return the message of the error that the call must raise: one line."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
