"""Posters of films as small images, where a folder holds them.

One file with all posters as JPEG, 40 pixels wide and 60 high: arrays ``movie_id`` (films,),
``offset`` (films + 1,) and ``jpeg`` (bytes,), an ``.npz`` without pickled objects. Posters are
protected works; none is shipped.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

FILE = "ml1m_poster_thumbs_40x60.npz"
HEIGHT, WIDTH = 60, 40


def find_posters(folder: str = "") -> Path | None:
    """The file of posters in a folder (or ``$LOOPAUDIT_DATA``), or None."""
    given = folder or os.environ.get("LOOPAUDIT_DATA", "")
    if not given:
        return None
    places = [Path(given).expanduser() / part / FILE for part in ("derived", ".")]
    return next((place for place in places if place.is_file()), None)


def read_posters(path: Path, ids: Sequence[str]) -> NDArray[np.uint8]:
    """(items, 60, 40, 3) RGB images of films by their MovieLens number, zeros where there is none.

    Raises:
        UserError: the file is damaged, or holds something else.
    """
    from PIL import Image  # comes with matplotlib

    images = np.zeros((len(ids), HEIGHT, WIDTH, 3), np.uint8)
    row = {name: index for index, name in enumerate(ids)}
    try:
        with np.load(path, allow_pickle=False) as held:
            numbers, offsets, data = held["movie_id"], held["offset"], held["jpeg"]
        for number, start, end in zip(numbers, offsets[:-1], offsets[1:], strict=True):
            index = row.get(str(number))
            if index is not None:
                with Image.open(io.BytesIO(data[start:end].tobytes())) as image:
                    images[index] = np.asarray(image.convert("RGB"))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} does not hold posters as expected: {error}") from None
    return images
