"""The command ``optbench``, which is also ``python -m optbench``.

Importing this module loads nothing, so that an interrupt is in good hands before anything is.
"""

import os
import signal
from types import FrameType


def leave(number: int, frame: FrameType | None) -> None:
    """End at once, without a word: what is only being imported has nothing to lose."""
    if os.isatty(2):
        os.write(2, b"\n")  # behind the ^C that the terminal has echoed
    os._exit(130)


def main() -> None:
    """Load the command line and run it."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else interrupts are not wanted at all
        signal.signal(signal.SIGINT, leave)
    from optbench.cli import main as run

    run(loaded=lambda: signal.signal(signal.SIGINT, usual))


if __name__ == "__main__":
    main()
