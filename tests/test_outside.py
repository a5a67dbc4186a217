"""What docs/tutorials/score.md tells to write outside the package works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import get_class
from PIL import Image

from piva import compose, run
from piva.config import build
from piva.errors import InputError
from piva.priors.prior import Prior

PAGE = Path(__file__).parents[1] / "docs/tutorials/score.md"


@pytest.fixture
def searchpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's two files in a folder of their own; the override by which Hydra finds them."""
    for name, text in re.findall(r"```\w+\n# (mine/\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    return f"hydra.searchpath=[file://{tmp_path}/mine/conf]"


def test_a_score_outside_the_package_runs(searchpath: str, prior_folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cat.png")
    data = [
        "dataset=single",
        f"dataset.path={tmp_path / 'cat.png'}",
        "dataset.source=cat",
        "dataset.target=dog",
    ]
    cfg = compose(
        *(searchpath, "task=image", "score=weighted_dds", "score.gamma=0.8", f"prior.path={prior_folder}"),
        *(*data, "metrics=pixels", "steps=2", "resolution=32", f"hydra.run.dir={tmp_path / 'run'}"),
    )
    assert run(cfg).summary["choices"]["score"] == "weighted_dds"


def test_it_is_dds_where_the_page_says_so_and_checked_like_any_other(searchpath: str, prior: Prior) -> None:
    own, dds = (
        build(get_class(cfg.score["_target_"]), cfg.score, "score")
        for cfg in (
            compose(searchpath, "score=weighted_dds", "score.gamma=1"),
            compose("score=dds", "guidance_source=null"),
        )
    )
    sums = [score.direction(prior.schedule, 500, 0.0).weights for score in (own, dds)]
    assert sums[0] == sums[1]
    cfg = compose(searchpath, "score=weighted_dds", "score.gamma=2")
    with pytest.raises(InputError, match=r"score\.gamma: found 2"):
        build(get_class(cfg.score["_target_"]), cfg.score, "score")
