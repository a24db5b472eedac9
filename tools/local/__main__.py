"""The command `python -m tools.local up|down|status`."""

import argparse
import sys

from tools.local import broker
from tools.local.errors import LocalError
from tools.local.settings import LocalSettings, inherited, load_settings
from tools.local.stack import Stack, is_ready
from tools.node import NodeError

STOPPED_STATUS = 3  # what init scripts answer for "not running"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 after a one-line error, or 3 when status finds something stopped."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        return _run(options, settings, Stack(settings, inherited()))
    except (LocalError, NodeError, OSError) as error:
        print(f"tools.local: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, settings: LocalSettings, stack: Stack) -> int:
    if options.command == "down":
        stack.down()
        print("stopped; ledger, logs and the broker's messages stay in", stack.folder)
        return 0
    if options.command == "up":
        stack.up(options.senders)
    return _report(settings, stack)


def _report(settings: LocalSettings, stack: Stack) -> int:
    node = broker.existing(stack.folder)
    if node is None or not node.running():
        print("the broker does not run")
        return STOPPED_STATUS
    running = stack.register.running()
    for name, process in running.items():
        print(f"{name:12} pid {process.pid:<8} {'ready' if is_ready(process) else 'not ready'}")
    api = f"http://127.0.0.1:{settings.api_port}"
    print(f"\nAPI:           {api}  (its docs: {api}/docs)")
    print(f"Management UI: {node.management_url}  (user {node.config.user}, password in {node.password_file})")
    print(f'Dead letters:  {node.management_url}#/queues/%2F/sms.dead-letter  ("Get messages")')
    print(f"Simulator:     http://127.0.0.1:{settings.simulator_port}/calls/summary")
    print(f"Logs:          {stack.folder / 'logs'}")
    return 0 if "api" in running else STOPPED_STATUS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.local", description="sms-batch on this machine, without Docker."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run yet, and wait until all of it is ready")
    up.add_argument("--senders", type=_senders, default=3, help="how many senders (%(default)s)")
    commands.add_parser("down", help="stop everything in order")
    commands.add_parser("status", help="say what runs and where")
    return parser


def _senders(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 50:
        raise argparse.ArgumentTypeError("between 1 and 50")
    return number


if __name__ == "__main__":
    sys.exit(main())
