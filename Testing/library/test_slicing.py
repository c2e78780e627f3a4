"""Rendered slices show the voxels that lie where their views say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones import slicing
from VoxelFeatLib.backbones.encodings import WindowEncoding
from VoxelFeatLib.backbones.slicing import SliceEncoder, SliceRenderer
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import Augmentation, Frame, View, ViewSampler, axis_view
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import Window

CPU = torch.device("cpu")


def turned(shape_kji, spacing_ijk, *, flip=(1, 1, 1), angles=(0.4, -0.3), origin=(-80.0, 33, 912)):
    """A geometry rotated about two axes, with flipped axes."""
    a, b = angles
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag(np.multiply(flip, spacing_ijk))
    matrix[:3, 3] = origin
    return Geometry(shape_kji, matrix)


def renderer_of(volume, size, *windows):
    return SliceRenderer(volume, WindowEncoding("windows", windows), size, CPU)


GEOMETRIES = {
    "isotropic": turned((20, 24, 22), (1, 1, 1), angles=(0, 0)),
    "oblique": turned((20, 24, 22), (1, 1, 1)),
    "flipped": turned((20, 24, 22), (1, 1.1, 1.2), flip=(-1, 1, -1)),
    "anisotropic": turned((8, 40, 30), (0.7, 0.8, 4.0), flip=(1, -1, 1)),
    "single slice": turned((1, 40, 30), (0.7, 0.7, 3.0)),
}


def encoded(geometry):
    """Voxel values that tell the position: linear in i, j and k, so that mixing keeps them true."""
    k, j, i = np.indices(geometry.shape_kji)
    return Volume((i + 100.0 * j + 10000.0 * k).astype(np.float32), geometry, "other")


def told(geometry, ras):
    index = np.clip(geometry.to_ijk(ras), 0, np.array(geometry.shape_kji[::-1]) - 1)
    return index @ (1, 100, 10000)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("seed", range(4))
def test_a_base_slice_shows_the_voxels_at_its_points(geometry, seed):
    renderer = renderer_of(encoded(geometry), 32, Window(1, 0))
    frame = ViewSampler(geometry, (0, 1, 2)).draw(np.random.default_rng(seed)).frame
    height, width = frame.shape

    values = renderer.base_slice(frame).numpy()

    points = frame.points(np.arange(height)[:, None], np.arange(width)[None, :])
    # Outside the volume the nearest edge voxel's value.
    np.testing.assert_allclose(values, told(geometry, points), atol=0.5, rtol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("seed", range(6))
def test_a_rendered_image_shows_the_voxels_that_the_cell_map_tells(geometry, seed):
    volume = encoded(geometry)
    span = 10000.0 * geometry.shape_kji[0] + 100 * geometry.shape_kji[1]
    rng = np.random.default_rng(seed)
    view = ViewSampler(geometry, (2,)).draw(rng)
    size = 256  # larger than the slice: the resize stays linear

    image = renderer_of(volume, size, Window.between(0, span)).image(view)

    assert image.shape == (1, size, size)
    values = image[0].double().numpy() * span
    # Pixels of the input are cells of a grid as fine as the input.
    points = view.cell_positions(size)[:, :, 0, 0]
    valid = view.valid_cells(size, 1, geometry)
    inner = np.zeros_like(valid)
    margin = 24  # a few slice pixels: outside and mirrored pixels are mixed in nearer to the border
    inner[margin:-margin, margin:-margin] = True
    rows, columns = (np.arange(-margin, margin + 1, 4),) * 2
    for down in rows:
        for right in columns:
            inner &= np.roll(valid, (down, right), (0, 1))
    # Edge voxels reach half a voxel beyond their centre, and there the value is constant.
    index = geometry.to_ijk(points)
    last = np.array(geometry.shape_kji[::-1]) - 1
    linear = np.all((index >= 0) & (index <= last) | (last == 0), axis=-1)
    # Along k the values turn constant as far as a slice pixel's neighbours reach.
    for down, right in ((-margin, 0), (margin, 0), (0, -margin), (0, margin)):
        linear &= np.roll(linear, (down, right), (0, 1))
    chosen = inner & linear
    assert chosen.sum() > 100
    np.testing.assert_allclose(values[chosen], told(geometry, points[chosen]), atol=span * 3e-6)


def test_each_window_makes_one_channel():
    geometry = Geometry((1, 16, 16), np.eye(4))
    volume = Volume(np.full((1, 16, 16), 50, dtype=np.int16), geometry, "CT")
    renderer = renderer_of(volume, 32, Window(200, 0), Window(100, 100), Window(10, 0))
    image = renderer.image(axis_view(geometry, 2, 0.0))
    np.testing.assert_allclose(image.mean(dim=(1, 2)), (0.75, 0.0, 1.0), atol=1e-6)


def test_a_slice_larger_than_the_input_is_averaged_not_sampled():
    geometry = Geometry((1, 64, 64), np.eye(4))
    checks = (np.indices((1, 64, 64)).sum(0) % 2).astype(np.float32)
    renderer = renderer_of(Volume(checks, geometry), 16, Window.between(0, 1))
    image = renderer.image(axis_view(geometry, 2, 0.0))
    # Sampling every fourth pixel would give 0, 1 or a mix that depends on the phase.
    np.testing.assert_allclose(image, 0.5, atol=0.02)


def test_mirrored_padding_is_shown():
    geometry = Geometry((1, 16, 16), np.eye(4))
    ramp = np.tile(np.arange(16, dtype=np.float32), (1, 16, 1))
    renderer = renderer_of(Volume(ramp, geometry), 16, Window.between(0, 16))
    frame = axis_view(geometry, 2, 0.0).frame
    image = renderer.image(View(frame, Augmentation(4, (24, 24), (0, 0))))
    np.testing.assert_allclose(image[0, 8] * 16, [4, 3, 2, 1, *range(12)], atol=1e-5)


def test_a_slice_of_one_row_is_rendered():
    geometry = Geometry((1, 1, 8), np.eye(4))
    volume = Volume(np.arange(8, dtype=np.float32).reshape(1, 1, 8), geometry)
    renderer = renderer_of(volume, 16, Window.between(0, 7))
    frame = Frame(geometry.centre_ras, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (1, 8), 1.0)
    view = ViewSampler(geometry, (2,)).augment(frame, np.random.default_rng(0))
    assert view.augmentation.pad == 0
    assert torch.isfinite(renderer.image(view)).all()


class HungryBackbone:
    """Runs out of memory when it is given more than two images."""

    input_size = 16
    device = CPU

    def __init__(self, encoding):
        self.encoding = encoding
        self.batches = []

    def work_bytes(self):
        return 1

    def __call__(self, images):
        self.batches.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return [images]


def test_with_too_little_memory_fewer_views_are_encoded_at_once():
    geometry = Geometry((5, 16, 16), np.eye(4))
    volume = Volume(np.arange(5 * 256, dtype=np.float32).reshape(5, 16, 16), geometry)
    backbone = HungryBackbone(WindowEncoding("windows", (Window.between(0, 1280),)))
    encoder = SliceEncoder(volume, backbone)
    views = [axis_view(geometry, 2, float(k)) for k in range(5)]

    maps = encoder.maps(views)[0]

    torch.testing.assert_close(maps, torch.stack([encoder.renderer.image(view) for view in views]))
    assert backbone.batches == [5, 2, 2, 1]
    encoder.maps(views[:3])
    assert backbone.batches[4:] == [2, 1]


def test_views_share_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(slicing, "free_memory", lambda _: 6)
    backbone = HungryBackbone(WindowEncoding("windows", (Window.between(0, 1),)))
    volume = Volume(np.zeros((1, 16, 16), np.float32), Geometry((1, 16, 16), np.eye(4)))
    SliceEncoder(volume, backbone).maps([axis_view(volume.geometry, 2, 0.0)] * 2)
    backbone.work_bytes = lambda: 3
    SliceEncoder(volume, backbone).maps([axis_view(volume.geometry, 2, 0.0)] * 2)
    assert backbone.batches == [2, 1, 1]
