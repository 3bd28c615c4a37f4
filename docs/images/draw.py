"""Draw the pictures of the README and the docs anew, each by nnx itself: `python docs/images/draw.py`.

`first-page.png` stands at the top of the README; `curves.png` and `samples.png` are those of `nnx train`,
`optimizers.png` that of `nnx lab optimizers`. (`steps.png` is of bench/compare.py.)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import nnx
from nnx._support import figures, plots
from nnx.lab._descent import draw_map, draw_path

HERE = Path(__file__).parent


def first_page() -> None:
    """Draw what a network is given, how it learns, and what the laboratory shows of an optimizer's path."""
    train, validation, test = nnx.datasets.load("digits")
    trainer = nnx.Trainer(nnx.MLP((200, 100), 10), "adam", seed=0)
    history = trainer.fit(train, epochs=20, batch_size=32, validation_data=validation, verbose=False)
    answers = trainer.predict(test).argmax(axis=1)
    shown = [*range(20), *np.flatnonzero(answers != test.t)[:4]]
    bowl = nnx.lab.optimizers(optimizers=["sgd", "momentum", "adam"], epochs=1, verbose=False).descents

    with plots.style():
        figure, ((sheet, curve, path),) = plots.panels(1, 3, "", width=4.2, height=3.6)
        for place, row in enumerate(shown):
            x, y = 1.25 * (place % 6), 1.5 * (place // 6)
            sheet.imshow(figures.stretched(test.x[row]), cmap="gray", extent=(x, x + 1, y + 1, y))
            right, said = answers[row] == test.t[row], str(answers[row])
            caption, colour = (said, plots.COLOURS[2]) if right else (f"{said}, is {test.t[row]}", plots.COLOURS[1])
            sheet.text(x + 0.5, y + 1.05, caption, ha="center", va="top", fontsize=9, color=colour)
        sheet.set(xlim=(-0.15, 7.4), ylim=(6.1, -0.1))
        sheet.set_title("digits that it has not seen, and its answers")
        sheet.set_axis_off()
        figures.draw_curve(curve, history, "accuracy")
        curve.set_title(f"how it learned ({trainer.accuracy(test):.1%} of the test right)")
        x, y = np.linspace(-9, 9, 81), np.linspace(-3.2, 3.2, 81)
        height = x**2 / 20 + y[:, None] ** 2
        draw_map(path, x, y, height, height.max() * np.linspace(0.05, 1, 10) ** 2)
        for index, (name, descent) in enumerate(bowl.items()):
            draw_path(path, descent.points, plots.line(index) | {"label": f"{name}, {descent.steps} steps"})
        path.plot(0, 0, "+", color=plots.INK, markersize=9)
        path.set_title("three optimizers on their way down a bowl")
        path.legend(loc="lower right")
    plots.save(figure, HERE / "first-page.png")


def of_the_commands() -> None:
    """Take the files that two commands write."""
    with tempfile.TemporaryDirectory() as folder:
        for command in (["train", "--out", "run"], ["lab", "optimizers", "--out", "lab"]):
            subprocess.run([sys.executable, "-m", "nnx", *command], cwd=folder, check=True, env={**os.environ})
        for file in ("run/curves.png", "run/samples.png", "lab/optimizers.png"):
            (HERE / Path(file).name).write_bytes((Path(folder) / file).read_bytes())


if __name__ == "__main__":
    first_page()
    of_the_commands()
