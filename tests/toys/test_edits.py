import pytest

from piva.toys.edits import DEVELOPMENT, TEST

CHANGES = [
    pytest.param(case.source, change, id=f"{case.name}/{change.name}")
    for case in TEST + DEVELOPMENT
    for change in case.changes
]


def test_each_toy_has_an_edit_of_every_type():
    for case in TEST + DEVELOPMENT:
        assert {change.type for change in case.changes} == {"texturing", "addition", "translation"}
        assert len({change.name for change in case.changes}) == len(case.changes)


def test_the_benchmark_is_broad():
    assert len(TEST) >= 12
    assert sum(len(case.changes) for case in TEST) >= 36


def test_the_prior_was_trained_on_such_toys():
    assert not any(
        toy.held_out
        for case in TEST + DEVELOPMENT
        for toy in (case.source, *(c.target for c in case.changes))
    )


def test_development_toys_are_other_kinds():
    assert not {case.source.kind for case in TEST} & {case.source.kind for case in DEVELOPMENT}


def test_the_first_edit_is_the_one_the_readme_shows():
    assert (TEST[0].source.caption, TEST[0].changes[0].target.caption) == ("a purple chair", "a golden chair")


@pytest.mark.parametrize(("source", "change"), CHANGES)
def test_an_edit_changes_what_its_type_says(source, change):
    target = change.target
    assert (target.kind != source.kind) == (change.type == "translation")
    assert bool(target.accessory) == (change.type == "addition")
    assert ((target.colour, target.surface) != (source.colour, source.surface)) == (
        change.type == "texturing"
    )
    assert target.caption != source.caption
    assert change.instruction.endswith(".")
    assert not {source.colour, target.colour} & {"white", "black"}
    assert target.ground == source.ground
