import pytest
from helpers.scenes import edit_json, nerfstudio, synthetic, write

from piva.datasets.noe import Noe
from piva.errors import InputError


@pytest.fixture
def root(tmp_path):
    """A benchmark of one nerfstudio-like object with known truth and one NeRF-synthetic scene without."""
    folder = tmp_path / "data/noe"
    nerfstudio(folder / "objaverse_synthetic/abc")
    synthetic(folder / "nerf_synthetic/hotdog")
    for part in ("images", "masks"):
        (folder / "truths/abc" / part).mkdir(parents=True)
    records = [
        {
            "id": "abc/blue",
            "path": "objaverse_synthetic/abc",
            "source_prompt": "a red mug",
            "target_prompt": "a blue mug",
            "instruction": "Paint it blue.",
            "type": "texturing",
            "truth": "truths/abc",
        },
        {
            "id": "hotdog",
            "path": "nerf_synthetic/hotdog",
            "source_prompt": "hot dogs",
            "target_prompt": "fries",
            "truth": None,
        },
    ]
    write(folder / "benchmark.json", {"name": "noe", "version": 1, "records": records})
    return tmp_path / "data"


@pytest.mark.parametrize("below", ["", "noe"])
def test_records(root, below):
    first, second = Noe(root=str(root / below), edits="all").read()
    folder = root / "noe"
    assert (first.id, first.source_prompt, first.target_prompt) == ("abc/blue", "a red mug", "a blue mug")
    assert first.type == "texturing"
    assert first.scene == folder / "objaverse_synthetic/abc"
    assert first.image == first.scene / "images/0004.png"
    assert first.truth == folder / "truths/abc"
    assert (second.truth, second.image) == (None, folder / "nerf_synthetic/hotdog/test/r_0.png")


def test_only_the_chosen_records_are_looked_at(root):
    edit_json(root / "noe/benchmark.json", lambda data: data["records"][0].update(path="nowhere"))
    (edit,) = Noe(root=str(root), edits="hotdog").read()
    assert edit.id == "hotdog"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "../../x"}, "path: .*a path inside"),
        ({"path": "nowhere"}, "nowhere: found no such folder"),
        ({"path": None}, "path: found None, wanted text"),
        ({"id": "../abc"}, "the id .*relative paths"),
        ({"id": 3}, "id: found 3, wanted text"),
        ({"target_prompt": ""}, "abc/blue: target prompt: found nothing"),
        ({"truth": "../.."}, "truth: .*a path inside"),
        ({"truth": "truths"}, "truth: found no folder"),
        ({"type": 3}, "type: found 3"),
    ],
)
def test_each_bad_record_has_its_one_line(root, values, message):
    edit_json(root / "noe/benchmark.json", lambda data: data["records"][0].update(values))
    with pytest.raises(InputError, match=message) as error:
        Noe(root=str(root), edits="all").read()
    assert "\n" not in str(error.value)


def test_a_folder_without_a_benchmark(tmp_path):
    with pytest.raises(InputError, match=r"dataset.root: found no benchmark.json.*dataset.root=toys"):
        Noe(root=str(tmp_path), edits="all").read()
    write(tmp_path / "benchmark.json", {"records": ["x"]})
    with pytest.raises(InputError, match=r"records\[0\]: found 'x', wanted an object"):
        Noe(root=str(tmp_path), edits="all").read()
