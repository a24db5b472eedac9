"""The process `smsctl`: runs a command, and turns every error into one line and an exit status."""

import logging
import sys
from collections.abc import Sequence

import structlog

from shared.errors import SettingsError, SmsBatchError
from tools.ctl.commands import app
from tools.ctl.errors import CtlError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: exits with 0, 1 where it did not succeed, 2 for options, files or settings that are wrong."""
    # What the services would log is no part of a command's output; what ends a command is its own line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app(None if arguments is None else list(arguments), prog_name="smsctl")
    except SettingsError as error:
        _end(f"bad settings: {error}", 2)
    except CtlError as error:
        _end(str(error), error.exit_status)
    except SmsBatchError as error:
        _end(str(error), 1)


def _end(line: str, exit_status: int) -> None:
    print(f"smsctl: {line}", file=sys.stderr)
    sys.exit(exit_status)


if __name__ == "__main__":
    main()
