"""Certificates for tests, made by openssl."""

import shutil
import subprocess
from pathlib import Path

from tests.support.machine import missing


def self_signed(folder: Path, *names: str) -> Path:
    """A certificate for these names (`IP:127.0.0.1`, `DNS:localhost`) that is its own authority, with its key in front.

    Skips where there is no openssl.
    """
    if shutil.which("openssl") is None:
        missing("no openssl on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={','.join(names)}"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return both
