"""What a notebook shows of results and figures, and what a script does."""

import sys
import types

import pytest

import nnx
from nnx._support import plots as plotting
from nnx._support.result import Result

PNG = b"\x89PNG\r\n"


class Few(Result):
    name = "few"

    def summary(self):
        return "what is <seen>: " + "word " * 30

    def draw(self):
        figure, _ = plotting.panels(1, 1, "few", width=2, height=2)
        return figure


def results(kind=Result):
    return [kind, *(each for child in kind.__subclasses__() for each in results(child))]


def test_the_text_of_a_result_is_its_summary_in_80_columns():
    assert nnx.tune.Study  # imported on request
    assert len(results()) > 10
    for kind in results():
        assert kind.__repr__ is kind.__str__ is Result.__str__
    assert max(map(len, repr(Few()).splitlines())) < 80


def test_a_notebook_shows_summary_and_picture(monkeypatch):
    html = Few()._repr_html_()
    assert html.startswith('<pre style="font-family: monospace">what is &lt;seen&gt;: word')
    assert 'src="data:image/png;base64,iVBORw0KGgo' in html
    monkeypatch.setattr(plotting, "available", lambda: False)
    assert Few()._repr_html_().endswith("</pre>")


def test_a_notebook_shows_figures():
    assert Few().plot()._repr_png_().startswith(PNG)


def test_a_script_shows_them_in_a_window(monkeypatch):
    import matplotlib
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "tkagg")
    monkeypatch.setattr(
        pyplot, "figure", lambda **settings: shown.append("figure") or matplotlib.figure.Figure(**settings)
    )
    monkeypatch.setattr(pyplot, "show", lambda: shown.append("show"))
    Few().show()
    assert shown == ["figure", "show"]
    Few().plot()
    assert len(shown) == 2


def test_where_no_window_can_be_opened_it_is_said():
    import matplotlib

    with matplotlib.rc_context({"backend": "agg"}), pytest.raises(nnx.InputError, match="no window can be opened here"):
        Few().show()


def test_a_notebook_shows_it_there(monkeypatch):
    shown = []
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    display = types.ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    Few().show()
    assert shown[0]._repr_png_().startswith(PNG)


def test_a_notebook_has_one_line_for_all_trainings(monkeypatch, capsys):
    lines = []

    class Shown:
        def update(self, data, raw):
            lines.append(data["text/plain"])

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    display = types.ModuleType("IPython.display")
    display.display = lambda data, raw, display_id: Shown()
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    nnx.lab.overfit(rows=20, hidden=(5,), epochs=1, backend="numpy")
    assert lines[0] == "training: none"
    assert lines[-1] == ""
    assert capsys.readouterr() == ("", "")
