"""The command `python -m tools.local up|down|status`."""

import argparse
import sys

from tools.local import broker
from tools.local.errors import BadSettings, LocalError
from tools.local.settings import inherited, load_settings
from tools.local.stack import Stack, is_ready
from tools.node import Node, NodeError
from tools.node.ports import HOST

STOPPED_STATUS = 3  # what init scripts answer for "not running"


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0, 1 after a one-line error, 2 after a bad setting, 3 when status finds something stopped."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, Stack(load_settings(), inherited()))
    except BadSettings as error:
        print(f"tools.local: {error}", file=sys.stderr)
        return 2
    except (LocalError, NodeError, OSError) as error:
        print(f"tools.local: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, stack: Stack) -> int:
    if options.command == "down":
        stack.down()
        print("stopped; ledger, logs and the broker's messages stay in", stack.folder)
        return 0
    if options.command == "up":
        print(f"ready: the broker, {', '.join(stack.up(options.senders))}")
        return 0
    return _report(stack)


def _report(stack: Stack) -> int:
    running = stack.register.running()
    for name, process in running.items():
        print(f"{name:12} pid {process.pid:<8} {'ready' if is_ready(process) else 'not ready'}")
    node = broker.existing(stack.folder)
    if node is None or not node.running() or not {"api", "simulator"} <= running.keys():
        print("not everything runs: python -m tools.local up starts what is missing")
        return STOPPED_STATUS
    _print_places(node, f"http://{HOST}:{running['api'].port}", f"http://{HOST}:{running['simulator'].port}")
    return 0


def _print_places(node: Node, api: str, simulator: str) -> None:
    print(f"\nAPI:           {api}  (its docs: {api}/docs)")
    print(f"Management UI: {node.management_url}  (user {node.config.user}, password in {node.password_file})")
    print(f'Dead letters:  {node.management_url}#/queues/%2F/sms.dead-letter  ("Get messages")')
    print(f"Simulator:     {simulator}/calls/summary")
    print(f"Logs:          {node.folder.parent / 'logs'}")


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
