"""Draw the rooms of piva and the way of the data: `python docs/draw_architecture.py` writes architecture.svg.

Rows are LAYERS, which tests/test_architecture.py holds the imports to; boxes name the files of the package.
"""

from html import escape
from pathlib import Path
from textwrap import wrap

PACKAGE = Path(__file__).parents[1] / "piva"
LAYERS = [  # from the bottom; a room imports from its own layer and from those above it in this list
    "errors ranges files images weights objective",
    "cameras priors.schedule runs.bars runs.deadline",
    "scores",
    "priors models schedules",
    "noe",
    "toys",
    "nerf datasets metrics",
    "tasks",
    "config",
    "runs",
    "optimise methods regularisers experiment evaluation export report view dashboard",
    "cli run evaluate fetch commands commands.help __main__ toys.training",
]
STEPS = {  # the way of the data, in order, and what happens there
    "run": "the command line",
    "config": "composed, checked: frozen settings",
    "experiment": "for each edit:",
    "datasets": "its prompts and pictures",
    "tasks": "open: pixels or a field",
    "optimise": "Algorithm 1",
    "scores": "the direction, as an equation",
    "models": "the learned predictions",
    "metrics": "measure",
    "runs": "save, resume, sweep",
    "report": "read the folders",
}
WIDTH, GAP, LINE = 900, 12, 12  # pixels: of the picture, between boxes, from line to line


def draw() -> str:
    """Return the picture as SVG: commands at the top, a row a layer, numbers along the way of the data."""
    parts: list[str] = []
    y = 2 * GAP
    for layer in reversed(LAYERS):
        names = layer.split()
        width = min(400, (WIDTH - GAP) / len(names) - GAP)
        texts = [wrap(", ".join(_files(name)), int(width / 5.2)) for name in names]
        height = 24 + LINE * max(len(text) + (name in STEPS) for name, text in zip(names, texts, strict=True))
        x = (WIDTH - len(names) * (width + GAP) + GAP) / 2
        for name, text in zip(names, texts, strict=True):
            parts += _box(name, text, (x, y, width, height))
            x += width + GAP
        y += height + GAP
    style = (
        "text{font:12px sans-serif;text-anchor:middle}.s{font-size:9px}.f{font-size:9px;fill:#777}"
        ".step{fill:#b8481a;font-size:10px}rect{fill:#fff;stroke:#888}.on{stroke:#d9622b;stroke-width:2}"
        "circle{fill:#d9622b}.n{fill:#fff;font-size:10px}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}"><style>{style}</style>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" stroke="none"/>', *parts, "</svg>"]) + "\n"


def _files(name: str) -> list[str]:
    """Return the modules and subfolders of a room; of a loose module, or of all the __main__ files, none."""
    room = PACKAGE / name.replace(".", "/")
    if not room.is_dir():
        return []
    rooms = {other for layer in LAYERS for other in layer.split()}
    names = [
        path.stem
        for path in sorted(room.iterdir())
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    return [stem for stem in names if not stem.startswith("__") and f"{name}.{stem}" not in rooms]


def _box(name: str, files: list[str], box: tuple[float, float, float, float]) -> list[str]:
    x, y, width, height = box
    middle, top = x + width / 2, y + 16
    kind = "on" if name in STEPS else "off"
    parts = [f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height}"/>']
    parts += [f'<text x="{middle:g}" y="{top:g}">{escape(name)}</text>']
    if name in STEPS:
        step, top = list(STEPS).index(name) + 1, top + LINE
        parts += [f'<text class="step" x="{middle:g}" y="{top:g}">{escape(STEPS[name])}</text>']
        parts += [
            f'<circle cx="{x:g}" cy="{y:g}" r="8"/><text class="n" x="{x:g}" y="{y + 4:g}">{step}</text>'
        ]
    lines = enumerate(files, start=1)
    return parts + [
        f'<text class="f" x="{middle:g}" y="{top + LINE * i:g}">{line}</text>' for i, line in lines
    ]


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
