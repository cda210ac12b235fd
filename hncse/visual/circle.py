"""A circle to drag: anchor, positive and negatives as directions, moved by hand, with what the loss makes of them.

    circle.show(negatives=[140, 20, 200])        # in JupyterLab, Colab, VS Code; nothing when nobody watches
    figures.show(circle.picture(), "circle", …)  # its static twin, drawn from the kit's own loss

circle.js is an ES module whose ``render({model, el})`` reads plain JSON (`DEFAULTS`), so that any page can embed it
without a kernel; `page` is one. Every negative is an anchor of its own with itself as positive, as in
`hncse.visual.study.mix`; the loss is the anchor's. Taught in notebooks 01 and 04.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hncse.errors import HncseError, unknown
from hncse.visual import schematics
from hncse.visual.style import CASE_COLOURS, OKABE_ITO, figure, html_page, styled, widget

__all__ = ["DEFAULTS", "LOSSES", "SCRIPT", "checked", "measure", "options", "page", "picture", "show"]

SCRIPT = Path(__file__).with_name("circle.js")
#: Angles in degrees, counter-clockwise from the right; τ; HNM's k and α; case A's band; PM's w2/w1 in case A.
DEFAULTS: dict[str, Any] = {
    "anchor": 90.0, "positive": 50.0, "negatives": [140.0, 20.0, 215.0, 300.0], "tau": 0.1, "k": 3, "band": 0.1,
    "alpha": 0.5, "ratio": 0.2, "loss": "HNM",
}  # fmt: skip
#: Name in the picture → the options that it stands for; HNM mixes all pairs of the k hardest.
LOSSES: dict[str, dict[str, Any]] = {
    "SimCSE": {}, "PM": {"positive_mixing": "fixed"}, "HNM": {"hard_negative_mixing": True},
    "PM + HNM": {"positive_mixing": "fixed", "hard_negative_mixing": True},
}  # fmt: skip


def checked(**state: Any) -> dict[str, Any]:
    """`DEFAULTS` with changes; `HncseError` for no such field, not 2 to 8 negatives, no angle, a wrong option."""
    o = DEFAULTS | state
    if wrong := [name for name in state if name not in DEFAULTS]:
        raise unknown("field of the circle", wrong[0], DEFAULTS)
    if not isinstance(o["negatives"], (list, tuple)) or not 2 <= len(o["negatives"]) <= 8:
        raise HncseError(f"negatives is {o['negatives']!r}; it must be a list of 2 to 8 angles in degrees")
    for value in (o["anchor"], o["positive"], *o["negatives"]):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise HncseError(f"{value!r} is no angle in degrees")
    options(o)
    return o | {"negatives": list(o["negatives"])}


def options(o: dict[str, Any]) -> Any:
    """The loss's `hncse.presets.LossOptions` in a state that holds every field."""
    from hncse import presets

    if o["loss"] not in LOSSES:
        raise unknown("loss", str(o["loss"]), LOSSES)
    given = {name: o[name] for name in ("k", "band", "alpha", "ratio")}
    return presets.resolve("simcse", temperature=o["tau"], s=99, replacement=False, **given, **LOSSES[o["loss"]])


def measure(**state: Any) -> dict[str, Any]:
    """What the kit's miner, mixing and loss make of a state: the numbers that circle.js shows.

    ``star`` is the hardest negative, from 1; ``z3`` and ``mixes`` are in degrees, ``gradient`` per radian, by the
    angles of anchor, positive, negatives.
    """
    import torch

    from hncse import miner, mixing

    given = checked(**state)
    o = options(given)
    flat = [given["anchor"], given["positive"], *given["negatives"]]
    angles = torch.tensor(flat, dtype=torch.float64).deg2rad().requires_grad_()
    points = torch.stack([angles.cos(), angles.sin()], dim=1)  # (2 + m, 2)
    second = points[1:]  # (1 + m, 2)
    g = mixing.gram(torch.cat([points[:1], points[2:].detach()]), second, mixes=True)
    excluded = miner.excluded_pairs(len(second))
    mined = miner.mine_in_batch(g.cosine, excluded, o.band)
    a, b = mixing.mixing_weights(mined, (1.0, float(o.ratio)), detach=False)
    pairs = mixing.draw_pairs(
        g.cosine, excluded, torch.Generator(), k=o.k, s=o.s, alpha=o.alpha, replacement=o.replacement
    )
    row = mixing.mixed_positives(g, mined.index, a, b)[0] if o.positive_mixing else g.cosine[0]  # (1 + m,)
    if o.hard_negative_mixing:
        row = torch.cat([row, mixing.hard_negative_mixes(g, pairs)[0]])
    loss = (row / o.temperature).logsumexp(0) - row[0] / o.temperature
    (gradient,) = torch.autograd.grad(loss, angles)
    star, drawn = int(mined.index[0]), list(zip(pairs.harder[0].tolist(), pairs.easier[0].tolist(), strict=True))
    z, p, n = second.detach().numpy(), mined.positive[0].item(), mined.hardest[0].item()
    mixed = [a[0].item() * z[0] + b[0].item() * z[star], *(o.alpha * z[u] + (1 - o.alpha) * z[v] for u, v in drawn)]
    z3, *mixes = np.degrees(np.arctan2(*np.array(mixed).T[::-1])).tolist()
    shares = (row / o.temperature).softmax(0).tolist()
    return {
        "p": p, "n": n, "case": "ABC"[int(mined.case[0])], "star": star, "z3": z3, "mixes": mixes, "pairs": drawn,
        "loss": loss.item(), "shares": shares, "gradient": gradient.tolist(),
    }  # fmt: skip


def picture(**state: Any) -> Figure:
    """Draw a state: the circle, and beside it every column's share of the softmax; arrows are descent's direction."""
    o, m = checked(**state), measure(**state)
    red, blue, orange = OKABE_ITO["vermillion"], OKABE_ITO["blue"], OKABE_ITO["orange"]
    pairs = m["pairs"] if "HNM" in o["loss"] else []
    names = ["anchor", "positive", *(str(j + 1) for j in range(len(o["negatives"])))]
    places = [90 - angle for angle in (o["anchor"], o["positive"], *o["negatives"])]  # from the top, clockwise
    with styled():
        fig, (left, right) = figure(8.2, 4.2, columns=2, width_ratios=(1.2, 1))
        schematics.circle(left, places[0], math.degrees(math.acos(max(-1.0, min(1.0, m["p"])))))
        for (a, b), angle in zip(pairs, m["mixes"], strict=False):
            schematics.chord(left, places[a + 1], places[b + 1])
            schematics.spot(left, 90 - angle, orange, "X", "", hollow=True)
        for i, (name, place) in enumerate(zip(names, places, strict=True)):
            look = [("black", "*"), (blue, "o"), (red, "^")][min(i, 2)]
            schematics.push(left, place, m["gradient"][i] * o["tau"], look[0])
            schematics.spot(left, place, *look, name + "*" * (i == m["star"] + 1), out=1.3)
        if "PM" in o["loss"] and m["case"] != "B":
            schematics.spot(left, 90 - m["z3"], blue, "P", "z³", hollow=True, out=0.8)
        rows = [*names[1:], *(f"mix {a}, {b}" for a, b in pairs)]
        colours = [blue, *[red] * len(o["negatives"]), *[orange] * len(pairs)]
        right.barh(range(len(rows)), [100 * share for share in m["shares"]], color=colours)
        right.set(yticks=range(len(rows)), yticklabels=rows, xlabel="share of the softmax, %", xlim=(0, 100))
        right.invert_yaxis()
        left.set_title(f"case {m['case']}: p = {m['p']:.2f}, n = {m['n']:.2f}", color=CASE_COLOURS[m["case"]])
        right.set_title(f"{o['loss']} at τ = {o['tau']:g}: loss {m['loss']:.3f}")
    fig.set_label(
        f"A circle with an anchor, its positive and {len(o['negatives'])} negatives: p {m['p']:.2f}, n {m['n']:.2f} "
        f"(negative {m['star']}), case {m['case']}. Loss of {o['loss']} at temperature {o['tau']:g}: {m['loss']:.3f}; "
        f"the positive's share of the softmax is {100 * m['shares'][0]:.0f} %."
    )
    return fig


def page(**state: Any) -> str:
    """The circle as an HTML page that needs no kernel."""
    return html_page("A circle to drag", SCRIPT, "render({ model: { get: (key) => data[key] }, el })", checked(**state))


def show(**state: Any) -> Any:
    """Show the circle; returns the widget, or None when nobody watches (`hncse.notebook.headless`)."""
    from hncse.notebook import headless

    given = checked(**state)
    return None if headless() else widget(SCRIPT, **given)
