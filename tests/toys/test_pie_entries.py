from collections import Counter

import pytest

from piva.toys.edits import SPLITS
from piva.toys.pie_entries import CHANGES, TYPES, entries, marked

EVERY = [entry for split in SPLITS for entry in entries(split)]


def test_a_fourth_of_pies_own_numbers():
    numbers = Counter(entry.type for entry in entries("test"))
    assert numbers == {1: 20, 2: 20, 3: 20, 4: 10, 6: 10, 7: 10, 8: 20}
    assert (
        {entry.type for entry in entries("test")[:7]} == set(TYPES) == set(CHANGES)
    )  # the first few are of all types


def test_ids_are_pies():
    for split in SPLITS:
        ids = [entry.id for entry in entries(split)]
        assert len(set(ids)) == len(ids)
    for entry in EVERY:
        assert len(entry.id) == 12
        assert entry.id[:2] == f"{entry.type}1"
        first, second, third = entry.folder.split("/")
        assert first.startswith(f"{entry.type}_{TYPES[entry.type][0]}_")
        assert (second, third) == ("1_artificial", {"3": "3_indoor", "4": "4_outdoor"}[entry.id[2]])
    assert sorted(entry.id for entry in entries("test") if entry.id.startswith("113"))[0] == "113000000000"


def test_toys_are_those_the_prior_knows_and_show_on_white():
    for toy in (toy for entry in EVERY for toy in (entry.pair.source, entry.pair.target)):
        assert not toy.held_out
        assert "white" not in (toy.colour, toy.accessory_colour)


def test_the_development_objects_are_others():
    kinds = [{toy.kind for e in entries(split) for toy in (e.pair.source, e.pair.target)} for split in SPLITS]
    assert not kinds[0] & kinds[1]
    assert all(kinds[i] == {case.source.kind for case in SPLITS[split]} for i, split in enumerate(SPLITS))


FIELDS = {
    1: {"kind"},
    2: {"accessory", "accessory_colour"},
    3: {"accessory", "accessory_colour"},
    4: {"accessory", "accessory_colour"},
    6: {"colour"},
    7: {"surface"},
    8: {"ground"},
}


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.id)
def test_an_entry_changes_what_its_type_says(entry):
    source, target = entry.pair.source, entry.pair.target
    changed = {name for name in vars(source) if getattr(source, name) != getattr(target, name)}
    assert changed
    assert changed <= FIELDS[entry.type]
    if entry.type in (2, 3, 4):
        assert (bool(source.accessory), bool(target.accessory)) == {
            2: (False, True),
            3: (True, False),
            4: (True, True),
        }[entry.type]
    assert entry.pair.instruction.endswith(".")
    for text in entry.pair.source.caption, entry.pair.target.caption:
        assert text == marked(text, text)[0]


@pytest.mark.parametrize(
    ("source", "target", "marks"),
    [
        ("a red mug", "an orange mug", ("a [red] mug", "an [orange] mug")),
        ("a red mug", "a red striped mug", ("a red mug", "a red [striped] mug")),
        ("a red mug", "a golden mug on sand", ("a [red] mug", "a [golden] mug [on sand]")),
        ("a mug with a red hat", "a mug", ("a mug [with a red hat]", "a mug")),
        (
            "a mug with a red hat",
            "a mug with an orange ball",
            ("a mug with a [red hat]", "a mug with an [orange ball]"),
        ),
    ],
)
def test_markers_are_around_the_words_that_differ(source, target, marks):
    assert marked(source, target) == marks
