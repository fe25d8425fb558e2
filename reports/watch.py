"""Watch a study live in a browser: the server behind ``loopaudit watch``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..recommenders.errors import UserError

STUDY_VARIABLE = "LOOPAUDIT_WATCH"
"""Environment variable that names the study file to the page."""


def serve(study: Path, *, port: int = 8765, open_browser: bool = True) -> int:
    """Serve the live view of a study until interrupted.

    Args:
        study: a valid study file.
        port: on this machine only.
        open_browser: whether to open the page in the default browser.

    Returns:
        the server's exit code.

    Raises:
        UserError: the extra is missing, or the port cannot be used.
    """
    if find_spec("solara") is None or find_spec("mesa.visualization") is None:
        raise UserError("the live view needs Solara: pip install 'loopaudit[viz]'")
    _check_port(port)
    command = [sys.executable, "-m", "solara", "run", f"{__package__}.watch_app"]
    command += ["--host", "localhost", "--port", str(port), "--production"]
    command += ["--no-check-version"]  # it would ask a server for Solara's newest version
    command += ["--log-level", "warning", "--log-level-uvicorn", "error"]
    command += [] if open_browser else ["--no-open"]
    environment = {
        **os.environ,
        STUDY_VARIABLE: str(study.resolve()),
        "PYTHONWARNINGS": "ignore::UserWarning",  # Solara's about Mesa's page
        "SOLARA_TELEMETRY_MIXPANEL_ENABLE": "False",
        **_widget_folders(),
    }
    if os.name == "posix":  # the server takes this process's place: one process, one Ctrl-C
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)
    return subprocess.call(command, env=environment)


def _widget_folders() -> dict[str, str]:
    """Where the scripts of widgets and Solara's assets lie, for those who search them.

    They look under this interpreter's prefix, where nothing is if the packages came by the path of
    another (a layered environment): the page would then be an error, or empty without a network.
    """
    found = find_spec("widgetsnbextension")
    if found is None or found.origin is None or len(Path(found.origin).parents) < 5:
        return {}
    prefix = Path(found.origin).parents[4]  # prefix/lib/python3.x/site-packages/name/__init__.py
    folders = {"JUPYTER_CONFIG_PATH": "etc/jupyter", "JUPYTER_PATH": "share/jupyter"}
    told = {
        name: os.pathsep.join(filter(None, (os.environ.get(name, ""), str(prefix / folder))))
        for name, folder in folders.items()
    }
    if (assets := prefix / "share/solara/cdn").is_dir():
        told["SOLARA_ASSETS_PROXY_CACHE_DIR"] = str(assets)
    return told


def _check_port(port: int) -> None:
    import socket

    if not 1 <= port <= 65535:
        raise UserError(f"--port must be from 1 to 65535, got {port}")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("localhost", port))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); choose another with --port"
            ) from None
