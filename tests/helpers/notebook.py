"""Run a notebook's cells one after the other, without a kernel, and collect what each would show.

`python tests/helpers/notebook.py examples/edit.ipynb` writes the outputs into the file.
"""

import ast
import base64
import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def run_notebook(path: Path) -> list[tuple[str, Any]]:
    """Return what each code cell printed, and the value of its last expression.

    They run in the working folder, with the pictures beside the notebook.
    """
    for picture in path.parent.glob("*.png"):
        shutil.copy(picture, picture.name)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in code_cells(json.loads(path.read_text(encoding="utf-8"))):
        *statements, last = ast.parse("".join(cell["source"])).body
        value, printed = None, io.StringIO()
        if not isinstance(last, ast.Expr):
            statements, last = [*statements, last], None
        with redirect_stdout(printed):
            exec(compile(ast.Module(statements, []), path.name, "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
        shown.append((printed.getvalue(), value))
    return shown


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def output(value: Any, count: int) -> dict[str, Any]:
    """A cell's output as the file has it: a picture, or text."""
    data = {"text/plain": [type(value).__name__ if hasattr(value, "_repr_png_") else repr(value)]}
    if hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode()
    return {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data}


def main(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for count, (cell, (printed, value)) in enumerate(
        zip(code_cells(notebook), run_notebook(path), strict=True), 1
    ):
        stream = [{"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)}]
        results = [] if value is None else [output(value, count)]
        cell |= {"execution_count": count, "outputs": (stream if printed else []) + results}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
