"""`nnx report`: what the page holds, that it needs nothing else, and how a browser shows it."""

import base64
import html
import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import webbrowser
from html.parser import HTMLParser

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

import nnx
import nnx.tune
from nnx import report
from nnx.datasets import digits, write_idx
from nnx.report._html import picture

pytestmark = pytest.mark.slow

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a & b", "$x_$", "' onload='x", "5", "&lt;")
PARTS = ["numbers", "curves", "confusion", "mistakes", "network", "settings", "machine"]
VOID = {"img", "meta", "link", "br", "hr"}

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page cannot be opened")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("NNX_BACKEND", "numpy")  # nothing to compile


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder of idx files, with a folder's name and classes as nobody should choose them."""
    here = tmp_path_factory.mktemp("report")
    data, folder = here / "<b>&'$data", here / 'run"<i>$'
    data.mkdir()
    write_idx(data / "t10k-images-idx3-ubyte.gz", digits().x)
    write_idx(data / "t10k-labels-idx1-ubyte", digits().t.astype(np.uint8))
    flags = "--hidden 20 --epochs 2 --lr 0.002 --backend numpy --batchnorm --dropout 0.1"
    assert nnx_command("train", "--dataset", data, *flags.split(), "--out", folder, figures=False) == 0
    config = json.loads((folder / "config.json").read_text())
    config["data"]["classes"][: len(HOSTILE)] = HOSTILE
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the run that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))


@pytest.fixture(scope="module")
def page(trained):
    return report.write(trained, backend="numpy")


class Page(HTMLParser):
    """What a test asks of a page: its tags are closed in order, names are given once, and references are kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.texts, self.tags = [], [], [], [], []
        self.styles = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self._attributes(attributes)

    def _attributes(self, attributes):
        for name, value in attributes:
            assert not name.startswith("on"), f"a script: {name}={value}"
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.references.append(value)
            if name == "style" or "url(" in (value or ""):
                self.styles.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] == "style":
            self.styles.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def test_the_page_has_its_parts_and_their_numbers(trained, page):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert [name for name in parsed.ids if name in PARTS] == PARTS
    trainer = nnx.Trainer.load(trained / "checkpoint.safetensors", backend="numpy")
    config = json.loads((trained / "config.json").read_text())["train"]
    test = nnx.datasets.load(config["dataset"]).test
    accuracy = trainer.model.accuracy(test)
    wrong = round((1 - accuracy) * len(test))
    assert f"Test accuracy{accuracy:.2%}{len(test) - wrong} of 359 rows right" in parsed.text
    assert f"Validation accuracy{trainer.history['val_accuracy'][-1]:.2%}" in parsed.text
    assert f"The training loss goes from {trainer.history['loss'][0]:.4f}" in parsed.text
    assert f"{wrong} of 359 test rows are taken for another class; most often" in parsed.text
    assert f"of {wrong} mistakes with the highest loss, the worst first" in parsed.text
    assert parsed.tags.count("img") == min(wrong, 25)
    assert parsed.tags.count("svg") == 2 + 2 + 1  # curves, weights, activations
    assert repr(trainer.optimizer) in parsed.text
    assert "BackendnumpyProcessor" in parsed.text
    assert page.stat().st_size < 300_000


def test_the_command_on_the_page_trains_the_same_network(trained, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    command = html.unescape(re.search(r"<code>(nnx train.*?)</code>", text)[1])
    again = tmp_path / "again"
    subprocess.run(["sh", "-c", f"{sys.executable} -m {command} --backend numpy --out {again}"], check=True)
    first, second = (nnx.Trainer.load(f / "checkpoint.safetensors", backend="numpy") for f in (trained, again))
    assert first.history == second.history


def test_what_comes_from_data_stays_text(trained, page):
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)  # asserts that there is no attribute on...
    assert "script" not in parsed.tags
    for name in HOSTILE:
        assert name in parsed.text
        assert html.escape(name) in text
    assert str(trained) in parsed.text


def test_the_page_refers_to_nothing_outside_itself(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert {reference.partition(":")[0] for reference in parsed.references if not reference.startswith("#")} == {"data"}
    inner = [reference[1:] for reference in parsed.references if reference.startswith("#")]
    inner += [name for style in parsed.styles for name in re.findall(r"url\(#([^)]*)\)", style)]
    assert inner
    assert set(inner) <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))
    css = " ".join(parsed.styles)
    assert "@import" not in css
    assert "@font-face" not in css
    assert set(re.findall(r"url\(\s*['\"]?(.)", css)) == {"#"}


def test_figures_are_in_inks_that_turn_dark(page):
    text = page.read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert re.findall(r"#[0-9a-f]{6}", drawing.partition("aria-label")[2]) == []
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    declared = [set(re.findall(r"(--[\w-]+):", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    assert declared[0] == declared[1]
    assert {name for drawing in drawings for name in re.findall(r"var\((--[\w-]+)\)", drawing)} <= declared[0]


def test_the_command_line(trained, tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or False)
    assert nnx_command("report", trained, "--backend", "numpy") == 0
    assert capsys.readouterr().out == f"written to {trained / 'report.html'}\n"
    assert opened == []
    assert nnx_command("report", trained, "--out", tmp_path / "page.html", "--open") == 0
    assert opened == [(tmp_path / "page.html").as_uri()]
    assert "no browser could be started here" in capsys.readouterr().out
    assert Page((tmp_path / "page.html").read_text(encoding="utf-8")).ids
    assert nnx_command("report", trained, "--out", tmp_path / "none" / "page.html") == 1
    assert "page.html: cannot be written; expected a file in a folder that exists" in capsys.readouterr().err
    assert nnx_command("report", trained, "--out", tmp_path) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert nnx_command("report", trained, "--backend", "nunpy") == 1
    assert "Did you mean 'numpy'" in capsys.readouterr().err


def test_what_is_no_run_is_refused(copy, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere", copy / "config.json"):
        assert nnx_command("report", folder) == 1
        assert f"{folder}: is neither a run (it has no config.json" in capsys.readouterr().err
    with pytest.raises(nnx.InputTypeError, match="folder: got 3, expected a path"):
        report.write(3)
    damaged = bytearray((copy / "checkpoint.safetensors").read_bytes())
    damaged[-1] ^= 1
    (copy / "checkpoint.safetensors").write_bytes(damaged)
    with pytest.raises(nnx.CheckpointError, match="its checksum does not fit"):
        report.write(copy)
    (copy / "checkpoint.safetensors").unlink()
    with pytest.raises(
        nnx.CheckpointError, match="stopped before its first epoch was done; continue it with: nnx train"
    ):
        report.write(copy)
    assert not (copy / "report.html").exists()
    assert [file.name for file in copy.iterdir() if "report" in file.name] == []


def test_a_failure_leaves_the_last_page(copy, monkeypatch):
    file = report.write(copy)
    before = file.read_bytes()
    (copy / "config.json").write_text("{")
    with pytest.raises(nnx.CheckpointError, match="is no configuration of a run"):
        report.write(copy)
    assert file.read_bytes() == before


def test_a_run_whose_data_are_gone(copy):
    config = json.loads((copy / "config.json").read_text())
    config["train"]["dataset"] = "/gone/<away>"
    (copy / "config.json").write_text(json.dumps(config))
    parsed = Page(report.write(copy).read_text(encoding="utf-8"))
    assert parsed.text.count("the data set /gone/<away> is gone: there is no /gone/<away>.") == 3
    assert "Test accuracy" not in parsed.text
    assert "Validation accuracy" in parsed.text
    assert parsed.tags.count("svg") == 2 + 2  # curves and weights need no data


def test_a_run_on_data_that_have_changed(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["train"]["dataset"] = str(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((40, 5, 5), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(40, dtype=np.uint8) % 10)
    (copy / "config.json").write_text(json.dumps(config))
    parsed = Page(report.write(copy).read_text(encoding="utf-8"))
    assert "got shape (8, 5, 5), expected (n, 8, 8)" in parsed.text


def test_nothing_but_a_checkpoint(tmp_path):
    x, t = digits().inputs().reshape(-1, 64)[:200], digits().t[:200]
    trainer = nnx.Trainer(nnx.MLP([20], 10), nnx.SGD(lr=0.1), backend="numpy", seed=3)
    trainer.step(x, t)
    trainer.save(tmp_path / "checkpoint.safetensors")
    parsed = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert "Learning curves left out: no epoch is done yet, so that there is no history." in parsed.text
    assert "config.json is not there, and only it names the data set" in parsed.text
    assert "SGD(lr=0.1)" in parsed.text
    assert "Epochs0" in parsed.text
    assert parsed.tags.count("svg") == 2


def test_how_a_training_ended(trained, copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["train"]["epochs"] = 9
    (copy / "config.json").write_text(json.dumps(config))
    assert "Epochs2 of 982 updates; not finished" in Page(report.write(copy).read_text(encoding="utf-8")).text
    flags = "--hidden 20 --epochs 30 --lr 0.1 --early-stopping 1 --out"
    assert nnx_command("train", *flags.split(), tmp_path / "early", figures=False) == 0
    text = Page(report.write(tmp_path / "early").read_text(encoding="utf-8")).text
    assert re.search(r"Epochs\d+ of 30\d+ updates; stopped early, the network is that of the least", text)


def test_a_network_that_diverged(copy):
    trainer = nnx.Trainer.load(copy / "checkpoint.safetensors", backend="numpy")
    trainer.model.params["1.W"][0, 0] = np.nan
    trainer.save(copy / "checkpoint.safetensors")
    parsed = Page(report.write(copy).read_text(encoding="utf-8"))
    assert "holds NaN or infinite values; the training diverged" in parsed.text


def test_regression_has_no_accuracy(tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((60, 3)), rng.standard_normal((60, 1))
    trainer = nnx.Trainer(nnx.MLP([5], 1), loss=nnx.MeanSquaredError(), backend="numpy")
    trainer.fit(x, t, epochs=3, batch_size=20, checkpoint=tmp_path / "checkpoint.safetensors", verbose=False)
    parsed = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert "MeanSquaredError()" in parsed.text
    assert "ccuracy" not in parsed.text
    assert "There were no validation data." in parsed.text


def test_many_classes_and_inputs_that_are_no_images(tmp_path):
    rng = np.random.default_rng(0)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", rng.integers(0, 255, (900, 6), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(900, dtype=np.uint8) % 60)
    flags = ("--hidden", "", "--epochs", 1, "--out", tmp_path / "run")
    assert nnx_command("train", "--dataset", tmp_path, *flags, figures=False) == 0
    parsed = Page(report.write(tmp_path / "run").read_text(encoding="utf-8"))
    assert "The pairs that are confused most" in parsed.text
    assert "mistakes with the highest loss." in parsed.text
    assert "img" not in parsed.tags


def test_without_matplotlib_the_page_says_so(copy, monkeypatch):
    monkeypatch.setattr(nnx._support.plots, "available", lambda: False)
    parsed = Page(report.write(copy).read_text(encoding="utf-8"))
    assert parsed.text.count("matplotlib is not installed; pip install 'nnx-array[plot]'") == 2
    assert "svg" not in parsed.tags
    assert "Confusion matrix" in parsed.text


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_alike_on_every_backend(trained, page, tmp_path, name):
    text = report.write(trained, tmp_path / "page.html", backend=name).read_text(encoding="utf-8")
    headline = re.compile(r'<section id="numbers".*?</section>', re.DOTALL)
    assert headline.search(text)[0] == headline.search(page.read_text(encoding="utf-8"))[0]


def test_large_pictures_become_small_ones():
    image = np.arange(300 * 500, dtype=np.float64).reshape(300, 500) - 7
    data = re.search(r'base64,([^"]+)', picture(image, "a < b"))[1]
    kept = image[::4, ::4]
    with Image.open(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.format, file.mode, file.size) == ("PNG", "L", (125, 75))
        assert np.array_equal(np.asarray(file), ((kept + 7) * 255 / (kept.max() + 7)).astype(np.uint8))


# A search -------------------------------------------------------------------------------------------------------------

STUDY = ["numbers", "best", "rounds", "scores", "trials", "curves", "settings"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search on the folder with the name that nobody should choose, in another such folder."""
    here = tmp_path_factory.mktemp("search")
    data = here / "<b>&'$data$"
    data.mkdir()
    write_idx(data / "t10k-images-idx3-ubyte.gz", digits().x[:400])
    write_idx(data / "t10k-labels-idx1-ubyte", digits().t[:400].astype(np.uint8))
    space = {
        "lr": nnx.tune.Log(1e-4, 1e30),  # its greatest diverge
        "dropout": nnx.tune.Linear(0, 0.5),
        "optimizer": nnx.tune.Choice("sgd", "adam"),
        "hidden": (20,),
    }
    folder = here / 'study"<i>$'
    settings = {"trials": 6, "rounds": 2, "epochs": 2, "seed": 1, "backend": "numpy", "verbose": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnx._support.plots, "available", lambda: False)
        return nnx.tune.search(space, data, folder=folder, **settings)


@pytest.fixture(scope="module")
def study_page(searched):
    return report.write(searched.folder)


def test_the_page_of_a_search(searched, study_page):
    parsed = Page(study_page.read_text(encoding="utf-8"))
    best, failed = searched.ranked[0], [trial for trial in searched.trials if trial.state == "failed"]
    assert failed
    assert [name for name in parsed.ids if name in STUDY] == STUDY
    assert f"Best validation accuracy{best.score:.2%}trial {best.number}, round {best.round}" in parsed.text
    assert f"Trials12{len(failed)} failed" in parsed.text
    choice = searched.best
    assert f"The choice{choice.score:.2%}trial {choice.number}, round {choice.round}" in parsed.text
    assert f"Trial {choice.number} of round {choice.round}, with a validation accuracy of" in parsed.text
    assert "Test accuracy" not in parsed.text
    for each in searched.rounds:
        for narrowing in each.narrowings:
            assert (narrowing.why in parsed.text) is not narrowing.old.single  # nothing is said of what cannot change
    change = re.search(r"lr(\S+) … (\S+) → (\S+) … (\S+?)the best", parsed.text)
    first = searched.rounds[0].narrowings[0]
    assert [float(end) for end in change.groups()] == pytest.approx(
        [first.old.low, first.old.high, first.new.low, first.new.high], rel=0.01
    )
    for trial in failed:
        assert " ".join(f"Trial {trial.number}{trial.reason}".split()) in parsed.text
    assert f"The best {len(searched.ranked)} of {len(searched.ranked)} complete trials." in parsed.text
    assert parsed.tags.count("svg") == 3 + 1  # a parameter each, and the curves
    assert "numpy (" in parsed.text
    assert study_page.stat().st_size < 300_000


def test_the_command_of_the_best_configuration_trains_it(searched, study_page, tmp_path):
    command = html.unescape(re.search(r"<code>(nnx train.*?)</code>", study_page.read_text(encoding="utf-8"))[1])
    assert nnx_command(*shlex.split(command)[1:], "--backend", "numpy", "--out", tmp_path / "run") == 0
    trainer = nnx.Trainer.load(tmp_path / "run" / "checkpoint.safetensors", backend="numpy")
    assert trainer.history == searched.best.history


def test_the_page_of_a_search_is_safe_and_needs_nothing_else(searched, study_page):
    text = study_page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert str(searched.folder) in parsed.text
    assert searched.settings.data in parsed.text
    assert "i" not in parsed.tags
    assert {reference.partition(":")[0] for reference in parsed.references if not reference.startswith("#")} == {"data"}
    assert len(parsed.ids) == len(set(parsed.ids))
    assert re.findall(r"#[0-9a-f]{6}", "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))) == []


def test_the_test_part_is_shown_once_it_was_asked(searched, tmp_path):
    copied = shutil.copytree(searched.folder, tmp_path / "study")
    result = nnx.tune.load(copied, backend="numpy").evaluate_test()
    text = Page(report.write(copied).read_text(encoding="utf-8")).text
    assert f"Test accuracy{result['accuracy']:.2%}the choice, once" in text


def test_a_search_without_a_result(tmp_path):
    def broken(params):
        raise RuntimeError("<nothing> works")

    settings = {"trials": 2, "rounds": 1, "epochs": 1, "backend": "numpy", "verbose": False}
    nnx.tune.search({"a": nnx.tune.Log(1e-3, 1)}, "digits", build=broken, folder=tmp_path / "study", **settings)
    text = Page(report.write(tmp_path / "study").read_text(encoding="utf-8")).text
    assert text.count("no trial is complete yet") == 3
    assert "2 trials failed" in text
    assert "<nothing> works" in text


@pytest.mark.long
def test_a_search_in_a_shared_storage(searched, tmp_path, capsys):
    url = f"sqlite:///{searched.folder / 'study.db'}"
    assert nnx_command("report", tmp_path, "--storage", url, "--name", searched.folder.name) == 0
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"trial {searched.best.number}, round" in text
    assert nnx_command("report", tmp_path, "--storage", url, "--name", "another") == 1
    assert "another" in capsys.readouterr().err
    assert nnx_command("report", searched.folder, "--name", "lost") == 1
    assert "name: is the name of a search in a shared storage; pass storage, too." in capsys.readouterr().err
    assert nnx_command("report", searched.folder, "--backend", "numpy") == 1
    assert "backend: the report of a search looks at no network; leave backend out." in capsys.readouterr().err


def test_a_search_needs_optuna(searched, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("nnx.tune._storage.find_spec", lambda name: None if name == "optuna" else find(name))
    with pytest.raises(nnx.InputError, match=r"needs Optuna; pip install 'nnx-array\[tune\]'"):
        report.write(searched.folder, tmp_path / "page.html")


def test_a_damaged_search_is_refused(searched, tmp_path, capsys):
    (tmp_path / "study.db").write_bytes((searched.folder / "study.db").read_bytes()[:5000])
    assert nnx_command("report", tmp_path) == 1
    assert f"{tmp_path / 'study.db'}: " in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


# In a browser ---------------------------------------------------------------------------------------------------------

MEASURE = """
<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
  const style = (element) => frame.contentWindow.getComputedStyle(element);
  const boxed = (element) => element.closest(".scroll") !== null;
  const wide = [...page.querySelectorAll("body *")].filter((element) => !boxed(element.parentElement) &&
    element.getBoundingClientRect().right > root.clientWidth + 0.5).map((element) => element.outerHTML.slice(0, 200));
  const said = document.createElement("pre");
  said.id = "measured";
  said.textContent = JSON.stringify({
    width: root.clientWidth, scroll: root.scrollWidth, wide,
    dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: style(page.querySelector("section")).backgroundColor,
    inks: Object.fromEntries(["p", "a", "figcaption", ".tiles .note", "svg text", "h3", "dt", ".missing strong",
      ".predicted", ".true", ".confusion td", "th"].map((name) => [name, page.querySelector(name)]).filter(
      ([name, element]) => element).map(([name, element]) =>
      [name, style(element)[element.ownerSVGElement ? "fill" : "color"]])),
    drawn: [...new Set([...page.querySelectorAll("svg *")].map((element) => style(element).fill))],
  });
  document.body.append(said);
});
</script>
"""


def browse(page, profile, *, dark=False, width=None):
    """The document after loading, and what the console said. width: in a frame of so many pixels, and measured."""
    if width is not None:  # a headless window is never narrower than 500 pixels
        text = html.escape(page.read_text(encoding="utf-8"))
        page = profile.with_suffix(".html")
        frame = f'<iframe srcdoc="{text}" style="border: 0; width: {width}px; height: 800px"></iframe>'
        page.write_text(f"<!DOCTYPE html><html><body>{frame}{MEASURE}</body></html>", encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --dump-dom"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [CHROMIUM, *flags.split(), scheme, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def luminance(colour):
    """Relative luminance as WCAG 2 defines it, of rgb(r, g, b)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    low, high = sorted(luminance([float(c) for c in re.findall(r"[\d.]+", text)[:3]]) for text in (one, other))
    return (high + 0.05) / (low + 0.05)


@needs_chromium
def test_a_browser_shows_it_without_a_complaint(page, tmp_path):
    dom, console = browse(page, tmp_path / "profile")
    assert console == []
    parsed = Page(dom)
    assert [name for name in parsed.ids if name in PARTS] == PARTS
    assert parsed.tags.count("svg") == 5
    assert "script" not in parsed.tags


@needs_chromium
def test_the_page_forbids_what_it_does_not_need(page, tmp_path):
    bad = '<script>document.title = "run"</script><img src="http://127.0.0.1:9/x.png"><svg><path d="M none"/></svg>'
    (tmp_path / "bad.html").write_text(page.read_text(encoding="utf-8").replace("</main>", f"{bad}</main>"))
    dom, console = browse(tmp_path / "bad.html", tmp_path / "profile")
    assert "<title>run</title>" not in dom
    said = " ".join(console)
    for complaint in ("script-src", "img-src", "Expected number"):  # and the console is heard
        assert complaint in said


@needs_chromium
@pytest.mark.parametrize("dark", [pytest.param(False, marks=pytest.mark.long), True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["page", pytest.param("study_page", marks=pytest.mark.long)])
def test_it_fits_a_phone_and_can_be_read(request, tmp_path, kind, dark):
    dom, console = browse(request.getfixturevalue(kind), tmp_path / "profile", dark=dark, width=360)
    assert console == []
    measured = json.loads(html.unescape(re.search(r'<pre id="measured">(.*?)</pre>', dom)[1]))
    assert measured["dark"] is dark
    assert measured["width"] <= 360
    assert measured["wide"] == []
    assert measured["scroll"] == measured["width"]
    assert len(measured["inks"]) >= 8
    assert (luminance([float(c) for c in re.findall(r"[\d.]+", measured["paper"])[:3]]) < 0.1) is dark
    assert {name: ink for name, ink in measured["inks"].items() if contrast(ink, measured["paper"]) < 4.5} == {}
    assert ("rgb(255, 255, 255)" in measured["drawn"]) is not dark
