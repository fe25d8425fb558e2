"""Fetches a published archive once, checks it, and keeps what is needed in the user's cache."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

from ..errors import UserError

_MAX_BYTES = 200 * 2**20
_CHUNK = 1 << 16
_STALLED_SECONDS = 30.0


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/loopaudit``, else ``~/.cache/loopaudit``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "loopaudit"


def fetched(name: str, url: str, md5: str, members: tuple[str, ...], page: str) -> Path:
    """The cached folder of a data set, downloaded first if it is not there.

    Args:
        name: folder inside the archive and inside the cache.
        url: the zip archive.
        md5: its digest.
        members: files that are kept.
        page: where a person can get it by hand.

    Raises:
        UserError: no connection, or an archive that is not the published one.
    """
    folder = cache_folder() / name
    if all((folder / member).is_file() for member in members):
        return folder
    by_hand = (
        f"get it from {page}, unpack it, and name the folder (--folder PATH), "
        f"or put it into a folder {name!r} below the one that LOOPAUDIT_DATA names"
    )
    try:
        archive = _download(name, url)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{name} could not be downloaded from {url} ({reason}); {by_hand}"
        ) from None
    got = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    if got != md5:
        raise UserError(
            f"the archive at {url} is not the published one: md5 {got}, expected {md5}; {by_hand}"
        )
    unpack(archive, name, members, folder)
    return folder


def unpack(archive: bytes, name: str, members: tuple[str, ...], folder: Path) -> None:
    """Write the members ``name/member`` of a zip archive into a folder, all or none of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
        with zipfile.ZipFile(io.BytesIO(archive)) as held:
            for member in members:
                (Path(temporary) / member).write_bytes(held.read(f"{name}/{member}"))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(temporary, folder)


def _download(name: str, url: str) -> bytes:
    read = bytearray()
    shown = 0.0
    with urllib.request.urlopen(url, timeout=_STALLED_SECONDS) as response:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            read += chunk
            if len(read) > _MAX_BYTES:
                raise OSError(f"more than {_MAX_BYTES} bytes")
            if sys.stderr.isatty() and (time.monotonic() - shown > 0.2 or len(read) == total):
                shown = time.monotonic()
                of = f" of {total / 2**20:.1f}" if total else ""
                print(
                    f"\rdownloading {name}: {len(read) / 2**20:.1f}{of} MB", end="", file=sys.stderr
                )
    if shown:
        print(file=sys.stderr)
    if total and len(read) != total:
        raise OSError(f"the connection broke off after {len(read)} of {total} bytes")
    return bytes(read)
