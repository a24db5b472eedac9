"""The command `python -m tools.node start|stop|status`."""

import argparse
import sys
from pathlib import Path

from tools.node import Node, NodeError

STOPPED_STATUS = 3  # what init scripts answer for "not running"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 after a one-line error, or 3 when status finds the node stopped."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (NodeError, OSError) as error:
        print(f"tools.node: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "start":
        node = Node.load_or_create(options.folder)
        node.start(options.timeout_s)
    else:
        node = Node.load(options.folder)
        if options.command == "stop":
            node.stop()
    return _report(node, show_password=options.show_password, wanted_running=options.command != "stop")


def _report(node: Node, *, show_password: bool, wanted_running: bool) -> int:
    if not node.running():
        print(f"The node in {node.folder} is stopped.")
        return STOPPED_STATUS if wanted_running else 0
    shown = node.config.password if show_password else "********"
    print(f"AMQP:       {node.amqp_url.replace(node.config.password, shown)}")
    print(f"Management: {node.management_url}")
    print(f"Metrics:    {node.prometheus_url}")
    print(f"User:       {node.config.user}, password: {shown} (kept in {node.password_file})")
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "A private RabbitMQ node from the system's packages, on loopback ports."
    parser = argparse.ArgumentParser(prog="python -m tools.node", description=about)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--folder", type=Path, default=Path(".run/node"), help="the node's files (%(default)s)")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="longest wait for the start (%(default)g)")
    parser.add_argument("--show-password", action="store_true", help="print the password instead of stars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
