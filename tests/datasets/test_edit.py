import pytest

from piva.datasets.edit import check_prompts
from piva.errors import InputError


@pytest.mark.parametrize(("source", "target", "which"), [("", "a", "source"), ("a", " \n", "target")])
def test_empty_prompt_is_refused(source, target, which):
    with pytest.raises(InputError, match=f"here: {which} prompt: found nothing"):
        check_prompts("here", source, target)


def test_equal_prompts_are_a_warning(caplog):
    check_prompts("here", "a mug", "a vase")
    assert not caplog.records
    check_prompts("here", "a mug", "a mug")
    assert "no edit is asked for" in caplog.text
