"""The files and the environment of a private node, as values; nothing here touches the machine."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tools.node.ports import HOST
from tools.node.processes import MARK

# The shovel's two are what the management UI's "Move messages" needs.
ENABLED_PLUGINS = "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_shovel,rabbitmq_shovel_management].\n"
ADVANCED_CONFIG = "[].\n"
# RabbitMQ's default is 512 MiB per log file, kept until all of it is consumed.
WAL_MAX_SIZE_BYTES = 64 * 1024 * 1024
LOOPBACK_DISTRIBUTION = "-kernel inet_dist_use_interface {127,0,0,1}"
_LINKS = Path("/tmp")  # noqa: S108 - whose link it is, is looked at before it is used
PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """What makes one node: its folder (absolute), five ports of 127.0.0.1, and the administrator's user and password.

    User and password consist of letters, digits and `_.~-`: they mean the same in the configuration and in URLs.
    """

    folder: Path
    amqp_port: int
    management_port: int
    prometheus_port: int
    dist_port: int
    epmd_port: int
    user: str
    password: str

    def __post_init__(self) -> None:
        if not self.folder.is_absolute():
            raise ValueError(f"the node's folder must be an absolute path, not {self.folder}")
        if self.user == "guest":
            raise ValueError("the user guest is RabbitMQ's well-known default: take another name")
        if not (PLAIN.fullmatch(self.user) and PLAIN.fullmatch(self.password)):
            raise ValueError("user and password must consist of letters, digits and the characters _.~-")

    @property
    def ports(self) -> dict[str, int]:
        """The ports by what they are for."""
        return {
            "AMQP": self.amqp_port,
            "management": self.management_port,
            "prometheus": self.prometheus_port,
            "Erlang distribution": self.dist_port,
            "epmd": self.epmd_port,
        }

    @property
    def name(self) -> str:
        """The Erlang node's name: one per folder, on a host that resolves everywhere."""
        return f"sms-{self._digest}@localhost"

    @property
    def known_as(self) -> Path:
        """The folder as RabbitMQ is told of it: a symbolic link to it where its path has characters beyond Latin-1.

        RabbitMQ formats paths with Erlang's `~s`, which takes none of them: it ends as it starts (seen on 3.10.8).
        """
        try:
            str(self.folder).encode("latin-1")
        except UnicodeEncodeError:
            return _LINKS / f"sms-node-{self._digest}"
        return self.folder

    @property
    def _digest(self) -> str:
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]

    @property
    def log_file(self) -> Path:
        """Where the running broker logs."""
        return self.folder / "log" / f"{self.name}.log"

    @property
    def startup_log(self) -> Path:
        """What the server printed at its last start, before its log was open."""
        return self.folder / "log" / "startup.log"

    def rabbitmq_conf(self) -> str:
        """The text of rabbitmq.conf; holds the password."""
        return "\n".join(
            [
                f"listeners.tcp.1 = {HOST}:{self.amqp_port}",
                f"management.tcp.ip = {HOST}",
                f"management.tcp.port = {self.management_port}",
                f"prometheus.tcp.ip = {HOST}",
                f"prometheus.tcp.port = {self.prometheus_port}",
                f"default_user = {self.user}",
                f"default_pass = {self.password}",
                "disk_free_limit.absolute = 50MB",
                f"raft.wal_max_size_bytes = {WAL_MAX_SIZE_BYTES}",
                "log.console = false",
                "log.file.level = info",
                "",
            ]
        )

    def files(self) -> dict[str, str]:
        """The files the server reads, by name within the folder."""
        return {
            "rabbitmq.conf": self.rabbitmq_conf(),
            "advanced.config": ADVANCED_CONFIG,
            "enabled_plugins": ENABLED_PLUGINS,
        }

    def tool_environment(self, path: str) -> dict[str, str]:
        """The whole environment of rabbitmqctl; `path` is where to look for Erlang."""
        return {
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": str(self.known_as / "home"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_CTL_ERL_ARGS": LOOPBACK_DISTRIBUTION,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def server_environment(self, path: str) -> dict[str, str]:
        """The whole environment of rabbitmq-server: all in our folder, nothing of /etc/rabbitmq, marked as ours."""
        return self.tool_environment(path) | {
            MARK: str(self.folder),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK_DISTRIBUTION,
            "RABBITMQ_CONFIG_FILE": str(self.known_as / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.known_as / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.known_as / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.known_as / "enabled_plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.known_as / "feature_flags"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(self.known_as / "plugins-expand"),
            "RABBITMQ_MNESIA_BASE": str(self.known_as / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.known_as / "log"),
            "RABBITMQ_PID_FILE": str(self.known_as / "node.pid"),
            "ERL_CRASH_DUMP": str(self.known_as / "log" / "erl_crash.dump"),
            # The script then becomes the Erlang VM instead of staying beside it as a shell.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
