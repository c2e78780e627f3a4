"""A volume of three materials, which any probe tells apart, and clicks into it."""

from __future__ import annotations

import numpy as np

from VoxelFeatLib.segmenting.clicks import Click

SHAPE = (8, 10, 16)
# Each holds a corner of the inference's blocks: what is smaller than a block no field could show.
LEFT = np.s_[2:6, 3:7, 3:7]
RIGHT = np.s_[2:6, 3:7, 11:15]
OTHER = np.s_[6:8, 0:3, 8:10]
IN_LEFT, IN_RIGHT, IN_OTHER, NOWHERE = (
    (4.0, 4.0, 3.0),
    (12.0, 4.0, 3.0),
    (8.0, 1.0, 7.0),
    (9.0, 8.0, 3.0),
)


def mask_of(*parts):
    mask = np.zeros(SHAPE, dtype=bool)
    for part in parts:
        mask[part] = True
    return mask


def positive(ras):
    return Click(ras, positive=True)


def negative(ras):
    return Click(ras, positive=False)


def updated(session, name="organ", **options):
    *_, last = session.update(name, **options)
    assert last.final
    np.testing.assert_array_equal(last.mask, session.mask(name)[last.extent.slices])
    return session.mask(name)
