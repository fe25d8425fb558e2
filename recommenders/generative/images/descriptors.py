"""What a picture shows, in numbers that need no training: its layout, its colours, its edges.

A network that reads pixels learns a few thousand pictures by heart and little about the next one;
these descriptions of fixed form leave it only weights to learn. The colour histogram is M. J. Swain
and D. H. Ballard's (International Journal of Computer Vision 1991), the histograms of edge
directions by place are those of N. Dalal and B. Triggs (CVPR 2005), without their blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LAYOUT = (15, 10)  # rows and columns of the thumbnail
_SHADES = 6  # of each of red, green and blue in the histogram
_PLACES = (7, 4)  # rows and columns of the grid of edges
_DIRECTIONS = 8

PARTS = (3 * _LAYOUT[0] * _LAYOUT[1], _SHADES**3, _DIRECTIONS * _PLACES[0] * _PLACES[1])
"""Numbers about the layout, the colours and the edges: 450, 216 and 224."""


def described(images: Tensor) -> Tensor:
    """(n, sum of PARTS) of (n, height, width, 3) bytes: the mean of a picture and its mirror image,
    which show the same."""
    pixels = images.permute(0, 3, 1, 2).float() / 255.0  # (n, 3, height, width)
    return (_described(pixels) + _described(pixels.flip(3))) / 2.0


def _described(pixels: Tensor) -> Tensor:
    layout = F.adaptive_avg_pool2d(pixels, _LAYOUT).flatten(1)
    return torch.cat([layout, _colours(pixels), _edges(pixels)], dim=1)


def _colours(pixels: Tensor) -> Tensor:
    """(n, shades^3) square roots of the share of pixels of each colour."""
    shade = (pixels * _SHADES).long().clamp(max=_SHADES - 1)
    colour = (shade[:, 0] * _SHADES + shade[:, 1]) * _SHADES + shade[:, 2]  # (n, height, width)
    one = torch.full_like(colour, 1.0 / colour[0].numel(), dtype=torch.float32).flatten(1)
    counts = torch.zeros(len(pixels), PARTS[1]).scatter_add_(1, colour.flatten(1), one)
    return counts.sqrt()


def _edges(pixels: Tensor) -> Tensor:
    """(n, directions x places) square roots of how much brightness changes, by direction and
    place."""
    grey = F.pad(pixels.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    right = grey[:, :, :-1, 1:] - grey[:, :, :-1, :-1]  # (n, 1, height, width)
    down = grey[:, :, 1:, :-1] - grey[:, :, :-1, :-1]
    angle = torch.atan2(down, right).remainder(torch.pi) / torch.pi  # an edge has no sense
    direction = (angle * _DIRECTIONS).long().clamp(max=_DIRECTIONS - 1)
    n, _, height, width = grey.shape
    change = torch.zeros(n, _DIRECTIONS, height - 1, width - 1)
    change.scatter_(1, direction, (right**2 + down**2).sqrt())
    return F.adaptive_avg_pool2d(change, _PLACES).flatten(1).sqrt()
