"""The page parsed: numbers equal an independent computation's, pictures decode, links exist."""

import base64
import csv
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from helpers.finished_runs import drawn, write_run
from PIL import Image
from scipy import stats

from piva.report.__main__ import report

EDITS = ["mug/blue", "car/hat", "cake/flag", "cone/tree", "<b>'bold\" & co"]


class Page(HTMLParser):
    """What the tests ask of a page: its tables' cells, its attributes, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")
        if tag == "small" and self._cell:
            self.rows[-1][-1] += " | "

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, label: str, nth: int = 0) -> list[str]:
        return [row for row in self.rows if row and row[0] == label][nth][1:]


Runs = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def runs(root: Path) -> Runs:
    values = {"dds": drawn(EDITS), "piva": drawn(EDITS, 0.05, seed=1), "piva1": drawn(EDITS, 0.1, seed=2)}
    early = {2: drawn(EDITS, seed=8)}
    write_run(root / "runs/score=dds #1", values["dds"], snapshots=early)
    write_run(root / "runs/lambda=0.4,score=piva", values["piva"], score="Piva", lam=0.4, snapshots=early)
    write_run(root / "runs/lambda=1.0,score=piva", values["piva1"], score="Piva", lam=1.0, snapshots=early)
    return values


@pytest.fixture(scope="module")
def page(runs: Runs, root: Path) -> Page:
    report(str(root / "runs"), f"out={root / 'report.html'}", "thumbnail=160")
    return Page((root / "report.html").read_text())


def test_means_and_intervals_are_scipys(page: Page, runs: Runs) -> None:
    values = np.array([row["eval/clip"] for row in runs["piva"].values()])
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert page.row("Piva λ 0.4")[0] == f"{(low + high) / 2:.4f} ± {(high - low) / 2:.4f}"
    assert page.row("Piva λ 0.4")[-1] == "5"
    assert page.row("identity")[0].startswith("0.5000 ± 0.0000")


def test_paired_differences_are_scipys(page: Page, runs: Runs) -> None:
    own, other = (np.array([row["truth/psnr"] for row in runs[name].values()]) for name in ("piva1", "dds"))
    low, high = stats.ttest_rel(own, other).confidence_interval()
    more = int((own > other).sum())
    p = stats.binomtest(more, 5).pvalue
    wanted = f"{(low + high) / 2:+.2f} ± {(high - low) / 2:.2f} | {more} up, {5 - more} down, p {p:.2g}"
    assert page.row("Piva λ 1 minus DDS", nth=1)[0] == wanted


def test_every_picture_and_download_decodes_and_every_link_exists(page: Page, root: Path) -> None:
    uris = [
        value for _, name, value in page.attributes if name in ("src", "href") and value.startswith("data:")
    ]
    pictures = [base64.b64decode(uri.partition(",")[2]) for uri in uris if uri.startswith("data:image/")]
    assert len(pictures) == len(EDITS) * 5  # original, three settings, truth
    for data in pictures:
        assert Image.open(io.BytesIO(data)).size == (160, 80)
    texts = [base64.b64decode(uri.partition(",")[2]).decode() for uri in uris if uri.startswith("data:text/")]
    assert sorted(texts) == sorted(path.read_text() for path in (root / "report_tables").iterdir())
    links = [
        value
        for tag, name, value in page.attributes
        if (tag, name) == ("a", "href") and value[:5] not in ("data:",)
    ]
    files = [link for link in links if not link.startswith("#")]
    assert len(files) == len(pictures)
    for link in files:
        assert (root / unquote(link)).is_file(), link


def test_nothing_is_fetched_and_no_prompt_becomes_markup(page: Page) -> None:
    urls = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "data-film")]
    assert not [url for url in urls if re.match(r"(?!data:)\w+:", url)]
    assert not [tag for tag, _, value in page.attributes if tag == "link"]
    assert any("<b>'bold\" & co" in text for text in page.text)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_csv_holds_raw_values_and_latex_escapes(page: Page, runs: Runs, root: Path) -> None:
    rows = list(csv.DictReader((root / "report_tables/1-1.csv").open()))
    piva = next(row for row in rows if row["setting"] == "Piva λ 1")
    assert float(piva["eval/clip"]) == pytest.approx(
        np.mean([row["eval/clip"] for row in runs["piva1"].values()])
    )
    assert int(piva["eval/clip edits"]) == 5
    latex = (root / "report_tables/1-1.tex").read_text()
    assert r"Piva $\lambda$ 1 & " in latex
    assert latex.count(r"\\") == 6  # heading, two anchors, three settings
    assert not re.search(
        r"(?<!\\)[&%_#](?![^\n]*tabular)", re.sub(r" & |^%.*$", "", latex, flags=re.MULTILINE)
    )


def test_curves_run_along_lambda_and_steps(page: Page) -> None:
    text = " ".join(page.text)
    order = ["Pictures", "<b>'bold", "The trade-off, with λ", "identity", "Drift over the steps"]
    places = [text.index(f" {words}") for words in order]
    assert places == sorted(places)  # pictures first, then the curve, then the tables
    assert sum("λ 0.4" in words or "λ 1" in words for words in page.text) > 2
    figures = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "viewbox")]
    assert len(figures) == 2


def test_seeds_have_an_interval_of_their_own(tmp_path: Path) -> None:
    values = [drawn(EDITS, seed=seed) for seed in range(3)]
    for seed, drawn_values in enumerate(values):
        write_run(tmp_path / f"runs/{seed}", drawn_values, seed=seed)
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    means = [np.mean([row["eval/lpips"] for row in each.values()]) for each in values]
    half = stats.t.ppf(0.975, 2) * np.std(means, ddof=1) / math.sqrt(3)
    cell = Page((tmp_path / "report.html").read_text()).row("DDS")[1]
    assert cell.endswith(f" | ± {half:.4f} over 3 seeds")


def test_edits_whose_settings_differ_most_come_first(tmp_path: Path) -> None:
    for name, score in (("dds", "DDS"), ("sds", "SDS")):
        write_run(tmp_path / f"runs/{name}", drawn(EDITS), score=score)
    for edit, colour in (("cake/flag", "white"), ("cone/tree", "grey")):
        Image.new("RGB", (200, 100), colour).save(tmp_path / f"runs/sds/edits/{edit}/after.png")
        Image.new("RGB", (200, 100), "black").save(tmp_path / f"runs/dds/edits/{edit}/after.png")
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    page = Page((tmp_path / "report.html").read_text())
    words = [value for _, name, value in page.attributes if name == "data-words"]
    assert [each.split()[0] for each in words[:2]] == ["cake/flag", "cone/tree"]
    spreads = [float(value) for _, name, value in page.attributes if name == "data-spread"]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[:3] == pytest.approx(
        [0.5, 0.5 * 128 / 255, 0], abs=1e-3
    )  # of two values, half their difference


def test_one_setting_has_no_curve_and_no_order(tmp_path: Path) -> None:
    write_run(tmp_path / "runs/dds", drawn(EDITS))
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    page = Page((tmp_path / "report.html").read_text())
    assert "Curve" not in page.text
    assert "most different first" not in page.text


def test_headings_and_notes_say_what_the_toys_networks_are(tmp_path: Path) -> None:
    values = {edit: {**row, "truth/success": 1.0} for edit, row in drawn(EDITS).items()}
    for name, networks in (("toys", {"clip": "toys-clip-1a2b"}), ("openai", {"clip": "ViT-L-14 openai"})):
        write_run(tmp_path / name, values if name == "toys" else drawn(EDITS), networks=networks)
        report(str(tmp_path / name), f"out={tmp_path / 'report.html'}")
        page = Page((tmp_path / "report.html").read_text())
        text = " ".join(" ".join(page.text).split())
        assert ("measured by the toys' own CLIP" in text) == (name == "toys")
        assert ("not OpenAI's" in text) == (name == "toys")
        assert ("reads all that was asked" in text) == (name == "toys")


def test_all_that_differs_is_listed_where_labels_leave_it_out(tmp_path: Path) -> None:
    for guidance, lr in ((3, 0.1), (7.5, 0.2)):
        task = {"_target_": "piva.tasks.image.ImageTask", "lr": lr}
        given = {"settings": {"guidance_scale": guidance}, "groups": {"task": task}}
        write_run(tmp_path / f"runs/{lr}", drawn(EDITS), **given)  # type: ignore[arg-type]
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    page = Page((tmp_path / "report.html").read_text())
    heads = next(row for row in page.rows if "lr" in row)
    assert sorted(heads) == ["", "guidance_scale", "lr"]
    assert sorted(row[1] for row in page.rows[page.rows.index(heads) + 1 :]) == ["0.1", "0.2"]


def test_what_is_missing_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/whole", drawn(EDITS[:2]))
    (run / "edits/mug/blue/after.png").write_bytes(b"torn")
    (run / "summary.json").write_text(
        (run / "summary.json")
        .read_text()
        .replace('"mean"', '"failures": [{"id": "cake/flag", "reason": "not finite"}], "mean"')
    )
    unfinished = write_run(tmp_path / "runs/unfinished", drawn(EDITS[:2]))
    (unfinished / "summary.json").unlink()
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    text = " ".join(Page((tmp_path / "report.html").read_text()).text)
    assert "no picture" in text
    assert "cake/flag: not finite" in text
    assert "unfinished: no summary.json" in text


def test_settings_that_are_lists_can_differ(tmp_path: Path) -> None:
    for t_range in ([0, 1], [0.5, 1]):
        write_run(tmp_path / f"runs/{t_range}", drawn(EDITS), settings={"t_range": t_range})
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    page = Page((tmp_path / "report.html").read_text())
    assert page.row("DDS, t_range [0, 1]")[0] == page.row("DDS, t_range [0.5, 1]")[0]


def test_large_films_are_linked_and_small_ones_embedded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/a b", drawn(EDITS[:1]))
    film = run / "edits/mug/blue/turntable.mp4"
    film.write_bytes(bytes(20_000))
    for limit, wanted in ((1, "data:video/mp4;base64,"), (0.01, "runs/a%20b/edits/mug/blue/turntable.mp4")):
        report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}", f"films_mb={limit}")
        page = Page((tmp_path / "report.html").read_text())
        (found,) = [value for _, name, value in page.attributes if name == "data-film"]
        assert found.startswith(wanted)


def test_a_page_takes_nothing_from_outside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "runs/a", drawn(EDITS[:2]))
    secret = tmp_path / "secret"
    secret.write_text("top secret")
    monkeypatch.setenv("SECRET", "s3cr3t")
    (folder / "edits" / EDITS[0] / "turntable.mp4").symlink_to(secret)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("guidance_scale: 7.5", "guidance_scale: ${oc.env:SECRET}"))
    write_run(tmp_path / "runs/b", drawn(EDITS[:2]))
    report(str(tmp_path / "runs"), f"out={tmp_path / 'report.html'}")
    page = (tmp_path / "report.html").read_text()
    assert base64.b64encode(secret.read_bytes()).decode() not in page
    assert "s3cr3t" not in page
