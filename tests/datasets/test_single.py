import pytest
from helpers.scenes import nerfstudio, picture
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from piva.config import CONF
from piva.datasets.single import Single, read_prompts
from piva.errors import InputError


@pytest.fixture
def photo(tmp_path):
    picture(0).save(tmp_path / "my cat.png")
    return tmp_path / "my cat.png"


def one(**settings):
    (edit,) = Single(**{"source": "", "target": "", "prompts": None} | settings).read()
    return edit


def test_photo(photo):
    edit = one(path=str(photo), source="a cat", target="a dog")
    assert (edit.id, edit.image, edit.scene) == ("my cat", photo, None)
    assert (edit.source_prompt, edit.target_prompt) == ("a cat", "a dog")


def test_scene(tmp_path):
    folder = nerfstudio(tmp_path / "garden")
    edit = one(path=str(folder), source="a", target="b")
    assert (edit.id, edit.scene, edit.image) == ("garden", folder, folder / "images/0004.png")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", 'a cat, sitting\nthe cat\'s "hat"\n'),
        ("p.txt", '\ufeffa cat, sitting\r\nthe cat\'s "hat"'),
        ("p.json", '{"source": "a cat, sitting", "target": "the cat\'s \\"hat\\""}'),
    ],
)
def test_prompt_files(photo, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    edit = one(path=str(photo), prompts=str(tmp_path / name))
    assert (edit.source_prompt, edit.target_prompt) == ("a cat, sitting", 'the cat\'s "hat"')


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "nowhere.png", "source": "a", "target": "b"}, "dataset.path: found nothing at nowhere.png"),
        ({"target": "b"}, "source prompt: found nothing"),
        ({"source": "a"}, "target prompt: found nothing"),
        ({"source": "a", "prompts": "p.txt"}, "dataset.prompts: found dataset.source or"),
        ({"prompts": "nowhere.txt"}, "nowhere.txt: found no such file"),
    ],
)
def test_bad_settings_are_one_line(photo, settings, message):
    with pytest.raises(InputError, match=message):
        one(**{"path": str(photo)} | settings)


def test_prompt_file_of_one_line(tmp_path):
    (tmp_path / "p.txt").write_text("only this\n")
    with pytest.raises(InputError, match="found 1 lines, wanted two lines"):
        read_prompts(tmp_path / "p.txt")


def test_broken_photo_is_refused(photo):
    photo.write_bytes(photo.read_bytes()[:100])
    with pytest.raises(InputError, match="unreadable"):
        one(path=str(photo), source="a", target="b")


# What the shell hands over for the commands in conf/dataset/single.yaml, and what must arrive.
QUOTED = {
    "source=a red mug": "a red mug",
    'source="a cat, sitting"': "a cat, sitting",
    'source="the cat\'s hat"': "the cat's hat",
    'source="the cat\'s hat, red"': "the cat's hat, red",
}


@pytest.mark.parametrize("override", QUOTED)
def test_quoting_that_the_yaml_documents(override):
    with initialize_config_dir(str(CONF / "dataset"), version_base="1.3"):
        assert compose("single", overrides=[override]).source == QUOTED[override]
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert not parsed.is_sweep_override()  # with -m the comma does not make two jobs
    (again,) = OverridesParser.create().parse_overrides([f"source={parsed.get_value_element_as_str()}"])
    assert str(again.value()) == QUOTED[override]  # as the sweeper passes it on


def test_yaml_shows_these_very_words():
    text = (CONF / "dataset" / "single.yaml").read_text()
    assert "'dataset.source=\"a cat, sitting\"'" in text
    assert '"dataset.source=\\"the cat\'s hat\\""' in text
    assert '"dataset.source=\\"the cat\'s hat, red\\""' in text
