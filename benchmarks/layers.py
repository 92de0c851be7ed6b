"""The convolutional layers that float32 and INT8 are both measured on."""

from __future__ import annotations

# N, C, H, K, kernel, then what differs from stride 1, padding kernel // 2, dilation 1, one group.
Layer = tuple[int, int, int, int, int, dict[str, int]]

COMMON: tuple[Layer, ...] = (
    (8, 3, 32, 32, 3, {}),
    (8, 32, 32, 32, 3, {}),
    (8, 64, 32, 64, 3, {}),
    (1, 64, 56, 64, 3, {}),
    (1, 128, 28, 128, 3, {}),
    (1, 256, 14, 256, 3, {}),
    (1, 256, 14, 256, 1, {}),
    (1, 3, 224, 64, 7, {}),
    (1, 3, 224, 64, 7, {"stride": 2}),
    (1, 64, 56, 64, 3, {"stride": 2}),
    (1, 64, 56, 64, 3, {"dilation": 2}),
    (1, 64, 56, 64, 3, {"groups": 4}),
    (1, 64, 56, 64, 3, {"groups": 64}),
)
