"""Films of splats go through pinholes, whatever lens the frames were taken by."""

from dataclasses import fields
from pathlib import Path

from helpers.scenes import nerfstudio
from hydra.utils import get_class
from omegaconf import OmegaConf

from piva.config import build, compose
from piva.export.edits import EditedScene
from piva.export.settings import ExportSettings
from piva.export.trajectory import film


def test_a_film_through_the_frames_of_a_bent_lens_is_a_pinholes(tmp_path: Path) -> None:
    nerfstudio(tmp_path / "face", k1=-0.1)
    asked = compose("what=[film]", "size=64", "ring.views=3", name="export")
    keys = [field.name for field in fields(ExportSettings)]
    settings = build(ExportSettings, OmegaConf.masked_copy(asked, keys))
    for field, pinholes in (("splats", True), ("room", False)):
        cfg = compose("task=nerf", "dataset=in2n", f"root={tmp_path}", f"field={field}")
        dataset = {**OmegaConf.to_container(cfg.dataset, resolve=True), "edits": ["face/bronze"]}
        edit = EditedScene(
            id="face/bronze",
            folder=tmp_path,
            field=build(get_class(cfg.field["_target_"]), cfg.field, "field"),
            dataset=dataset,
            prompts=("", ""),
            captured=True,
            original=True,
        )
        along = film(edit, settings).trajectory
        assert len(along) == 3
        assert all(lens.is_pinhole == pinholes for _, lens in along)
