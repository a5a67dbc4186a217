"""Training pictures: patches are pixels of pictures and the rays of their cameras."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.ball import write_ball
from helpers.scenes import nerfstudio

from piva.cameras.rays import image_rays
from piva.datasets.scene import Views, read_views
from piva.tasks.photos import Photos

WHITE = torch.ones(3)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    """24 pictures of a ball, 24 pixels a side, with alpha."""
    return read_views(write_ball(tmp_path_factory.mktemp("scenes") / "ball"))


def test_a_picture_stands_before_the_background_at_the_size_of_views(views: Views) -> None:
    photos = Photos(views, 24, 4, WHITE)
    rgba = torch.from_numpy(views.images[views.train[2]]) / 255
    expected = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    torch.testing.assert_close(photos.original(2)[0], expected.permute(2, 0, 1), atol=0.5 / 255, rtol=0)
    small = Photos(views, 16, 8, WHITE)
    assert small.original(0).shape == (1, 3, 16, 16)
    assert (small.camera(0)[1].width, len(small)) == (16, 24)


@pytest.mark.parametrize("side", [8, 32])
def test_a_patch_has_the_pixels_and_rays_of_one_picture(views: Views, side: int) -> None:
    """Of whole pictures where these are smaller."""
    photos = Photos(views, 24, 4, WHITE)
    drawn = photos.patches(5, side, torch.Generator().manual_seed(0))
    assert drawn.side == min(side, 24)
    cameras = [image_rays(torch.from_numpy(c2w), lens) for c2w, lens in map(photos.camera, range(24))]
    frames = []
    for rays_o, rays_d, rgb in zip(
        *(x.split(drawn.side**2) for x in (drawn.rays_o, drawn.rays_d, drawn.rgb)), strict=True
    ):
        (frame,) = {i for i, (o, _) in enumerate(cameras) if torch.allclose(o[0], rays_o[0])}
        frames.append(frame)
        away = (cameras[frame][1] - rays_d[0]).square().sum(1)
        top, left = divmod(int(away.argmin()), 24)
        square = (slice(top, top + drawn.side), slice(left, left + drawn.side))
        directions = cameras[frame][1].view(24, 24, 3)[square].reshape(-1, 3)
        torch.testing.assert_close(rays_d, directions, atol=1e-6, rtol=0)
        expected = photos.original(frame)[0].permute(1, 2, 0)[square].reshape(-1, 3)
        torch.testing.assert_close(rgb, expected)
    assert len(set(frames)) > 1


def test_changed_pictures_are_what_patches_show_and_originals_stay(views: Views) -> None:
    photos, blue = Photos(views, 24, 4, WHITE), torch.tensor([0.0, 0.2, 1.0])[:, None, None].expand(3, 24, 24)
    before = photos.original(1)
    for i in range(24):
        photos.change(i, blue)
    drawn = photos.patches(2, 8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.rgb, torch.tensor([0.0, 0.2, 1.0]).expand(128, 3))
    torch.testing.assert_close(photos.original(1), before)
    again = Photos(views, 24, 4, WHITE)
    for i, picture in photos.changed().items():
        again.change(i, picture)
    assert all(torch.equal(again.changed()[i], picture) for i, picture in photos.changed().items())


def test_what_is_masked_is_not_looked_at(tmp_path: Path) -> None:
    """Nor what a smaller picture mixes with it."""
    views = read_views(nerfstudio(tmp_path / "scene"))
    masks = np.ones(views.images.shape[:3], np.bool_)
    masks[:, :, :5] = False
    masked = Views(**{**vars(views), "keep": masks})
    drawn = Photos(masked, 8, 4, WHITE).patches(1, 8, torch.Generator().manual_seed(0))
    assert drawn.keep is not None
    assert drawn.keep.view(8, 8)[0].tolist() == 3 * [False] + 5 * [True]
    assert Photos(views, 8, 4, WHITE).patches(1, 8, torch.Generator()).keep is None
