import pytest

from piva.errors import InputError
from piva.ranges import select

IDS = ["mug/blue", "mug/ball", "chair/golden", "111000000000"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", [0, 1, 2, 3]),
        (2, [0, 1]),
        (4, [0, 1, 2, 3]),
        ("chair/golden", [2]),
        (["chair/golden", "mug/blue"], [2, 0]),
        ("2-3", [1, 2]),
        ("4-4", [3]),
        (111000000000, [3]),  # how Hydra reads that id
        ([111000000000], [3]),
    ],
)
def test_choices(choice, expected):
    assert select(IDS, choice) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("mug/blu", "ids are mug/blue"),
        ("zzzz", "ids are mug/blue, mug/ball"),
        (0, "from 1 to 4"),
        (5, "from 1 to 4"),
        (-1, "from 1 to 4"),
        ("0-2", "a range within 1-4"),
        ("3-2", "a range within 1-4"),
        ("2-5", "a range within 1-4"),
        ("-2", "ids are"),
        ([], "all, a number"),
        (None, "all, a number"),
        (True, "all, a number"),
        (1.5, "all, a number"),
        ({"a": 1}, "all, a number"),
        ([None], "all, a number"),
        (["mug/blue", "mug/blue"], "twice"),
    ],
)
def test_bad_choices_are_one_line(choice, message):
    with pytest.raises(InputError, match=message) as error:
        select(IDS, choice)
    assert str(error.value).startswith("dataset.edits: found")


def test_an_id_that_looks_like_a_range_is_an_id():
    assert select(["a", "b", "1-2"], "1-2") == [2]


def test_empty_dataset_and_repeated_ids():
    with pytest.raises(InputError, match="no edits"):
        select([], "all")
    with pytest.raises(InputError, match="'a' twice"):
        select(["a", "b", "a"], "all")


@pytest.mark.parametrize(("count", "parts"), [(700, 16), (12, 5), (3, 3), (1, 1)])
def test_shards_share_the_edits_out_evenly(count: int, parts: int) -> None:
    ids = [f"id{i}" for i in range(count)]
    shards = [select(ids, "all", shard=f"{i}/{parts}") for i in range(1, parts + 1)]
    assert sorted(index for shard in shards for index in shard) == list(range(count))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_is_one_of_the_chosen_edits() -> None:
    assert select(["a", "b", "c", "d"], ["d", "b", "a"], shard="2/3") == [1]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "1/2/3", "a/b", "-1/2", "1/5"])
def test_a_shard_that_cannot_be_is_named(shard: str) -> None:
    with pytest.raises(InputError, match=r"^dataset.shard: found "):
        select(["a", "b", "c", "d"], "all", shard=shard)


@pytest.mark.parametrize("outer", ["", ".", "mug/", "./mug", "mug", "/mug", "a/../mug"])
def test_ids_name_folders_apart(outer: str) -> None:
    """Else the folder of one edit, replaced when it is finished, would take another's with it."""
    with pytest.raises(InputError, match="dataset.edits: found the id"):
        select(["mug/blue", outer], "all")
    assert select(["mug/blue", "mug-2", "mugs"], "all") == [0, 1, 2]
