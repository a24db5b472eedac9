"""The api against its own OpenAPI document: schemathesis makes requests up, and compares the answers with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.brokers import Vhost

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.parametrize("examples", [3, pytest.param(24, marks=pytest.mark.large)])
def test_what_schemathesis_makes_up_is_answered_as_the_document_says(
    start: Start, vhost: Vhost, sqlite_url: str, tmp_path: Path, examples: int
) -> None:
    api = start("services.api", SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=sqlite_url)
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{api.url}/openapi.json"]
    options = ["--checks", CHECKS, "--max-examples", str(examples), "--seed", "1", "--exclude-path-regex", "/events$",
               "--request-timeout", "30", "--generation-database", "none"]  # fmt: skip
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=400, cwd=tmp_path)
    if ended.returncode:
        pytest.fail(ended.stdout[-5000:] + ended.stderr[-2000:])
