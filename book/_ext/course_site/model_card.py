"""The model card of our own weights, drawn from the records in ``data/results/weights``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape

import numpy as np

from helpers.comparison import counted
from helpers.datasets import ImageSet
from helpers.pretraining.card import BASELINES, KINDS, MEASURES, RULE, Card, Estimate, SetScores, verdict
from helpers.pretraining.images import FAMILIES, categories, render
from helpers.results import slug

__all__ = ["card_html", "formula_images"]

_FAMILIES = {
    "Fractal": "fractals",
    "Glyph": "glyphs",
    "DeadLeaves": "dead leaves",
    "Grating": "gratings",
    "Blob": "blobs",
    "Spectrum": "noise of a given spectrum",
    "Cells": "cells",
}

_LEVEL = (
    "The rule was fixed before there were weights to judge. It chooses none of the many stages and measures, so "
    "nothing has to be corrected for their number. Were nothing gained, chance would name a set better about once in "
    "40 times at most, as far as the intervals keep their promise, and so more than half of the sets about once in 20 "
    "times at most, whatever they have in common."
)

# how each kind of weights is drawn, by its place in KINDS; colours and dashes are in model-card.css
_MARKS = {
    "random": '<circle r="3.5"/>',
    "measured": '<path d="M-3.5 -3.5H3.5V3.5H-3.5Z"/>',
    "self_made": '<circle r="4"/>',
    "imagenet": '<path d="M0 -4.5 4.5 3.5H-4.5Z"/>',
}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 280, 176, 32, 14, 8, 24  # of one panel


def formula_images(of_each: int = 3, size: int = 96, seed: int = 0) -> ImageSet:
    """Return images of two categories of each family of formulas, as a set whose classes are the families."""
    families = len(FAMILIES)
    drawn = categories(2 * families, seed)
    images = [render(one, of_each, size, np.random.default_rng([seed, place])) for place, one in enumerate(drawn)]
    return ImageSet(
        np.concatenate(images),
        np.repeat(np.arange(2 * families) % families, of_each),
        tuple(_FAMILIES[family.__name__] for family in FAMILIES),
        "formulas",
        "helpers.pretraining.images",
        "CC BY 4.0",
    )


def card_html(cards: Mapping[str, Card], networks: Sequence[str]) -> str:
    """Return the records as one HTML fragment: the rule, then each network with its pictures and its table.

    Parameters
    ----------
    cards : mapping of str to Card
        By network, as `helpers.pretraining.card.load_cards` returns them.
    networks : sequence of str
        All networks that the course can pretrain.
    """
    if not cards:
        return "<p>Nothing has been measured yet.</p>\n"
    rule = f"<p><strong>The rule.</strong> {escape(RULE)}</p>\n<p>{_LEVEL}</p>"
    ordered = sorted(cards.values(), key=lambda card: not card.gain)
    sections = "\n".join(_section(card) for card in ordered)
    return f'<div class="course-card">\n{rule}\n{sections}\n{_without(cards, networks)}</div>\n'


def _section(card: Card) -> str:
    title = f'<h3 id="card-{slug(card.network)}"><code>{escape(card.network)}</code></h3>'
    parts = [title, f'<p class="course-verdict">{escape(verdict(card))}</p>', _missing(card)]
    parts += [_facts(card), _forest(card), _multiples(card), _table(card)]
    return "\n".join(filter(None, parts))


def _missing(card: Card) -> str:
    sentences = [sentence for name, sentence in card.missing.items() if name != "self_made"]  # the verdict says that
    return f"<p>{escape(' '.join(sentences))}</p>" if sentences else ""


def _without(cards: Mapping[str, Card], networks: Sequence[str]) -> str:
    """Say for which networks there is no record of weights of our own."""
    none = [name for name in networks if name not in cards or not cards[name].gain]
    if not none:
        return ""
    names = ", ".join(f"<code>{escape(name)}</code>" for name in none)
    return (
        f"<p>No weights of our own were measured for {names}: <code>backbones.load</code> takes ImageNet's for such a "
        "network where they can be had, else random ones, and prints which.</p>\n"
    )


# ---- what the weights are


def _facts(card: Card) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{escape(text)}</td></tr>' for title, text in _told(card) if text
    )
    return _scrolling(f"What {card.network} is", f'<table class="table course-facts"><tbody>{rows}</tbody></table>')


def _told(card: Card) -> Iterator[tuple[str, str]]:
    """Yield what is known of the weights and of the measuring; what a training card lacks is left out."""
    about = card.weights.get("about", {})
    yield "Objective", str(about.get("objective", ""))
    seen, rendered = about.get("images seen"), about.get("images rendered")
    if seen is not None:
        yield "Images seen", f"{seen:,}" + (f", of {rendered:,} that were rendered once" if rendered else "")
    if "seconds" in about:
        yield "Training", f"{_time(about['seconds'])} on {about.get('device', 'an unknown device')}"
    if card.weights:
        parameters = card.weights.get("parameters")
        yield "Size", f"{card.weights['bytes'] / 2**20:.1f} MiB as {card.weights['dtype']}, {parameters:,} parameters"
    if errors := about.get("rounding error"):
        yield (
            "Rounding",
            "changes the features by "
            + ", ".join(f"{100 * error:.2f} % ({stage})" for stage, error in errors.items())
            + " of their spread",
        )
    stages = ", ".join(f"{stage} ({width:,})" for stage, width in card.stages.items())
    yield "Stages", f"{stages}; images are resized to {card.size} × {card.size} pixels"
    about = card.about
    when = datetime.fromisoformat(about["finished"])
    yield (
        "Measured",
        f"{when:%Y-%m-%d}, in {_time(about['seconds'])} on {about['device']}, commit {about['commit'] or 'unknown'}, "
        f"{counted(card.draws, 'draw')} of random weights; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


# ---- what training gains on each set


def _forest(card: Card) -> str:
    """Draw the mean difference on each set with its interval, all sets together last."""
    if not card.gain:
        return ""
    rows = [*((found.name, found.gain) for found in card.sets), ("all sets", card.gain)]
    ends = [end for _, gain in rows for one in gain.values() for end in (one.low, one.high)]
    low, high = math.floor(20 * min(*ends, 0)) / 20, math.ceil(20 * max(*ends, 0)) / 20

    def place(value: float) -> str:
        return f"{5 + 90 * (value - low) / max(high - low, 0.05):.2f}%"

    items = "\n".join(_forest_row(name, gain, place) for name, gain in rows)
    return f"""<figure class="course-forest">
<figcaption>What training gains: the accuracy of our own weights less that of random ones (filled circle) and of
measured random ones (open diamond), averaged over all stages and both measures. Bars are 95 % intervals.</figcaption>
<ul>
{items}
</ul>
<div class="course-forest-axis">{_forest_axis(low, high, place)}</div>
</figure>"""


def _forest_row(name: str, gain: Mapping[str, Estimate], place: Callable[[float], str]) -> str:
    told = "; ".join(f"against {KINDS[baseline]} weights {_signed(one)}" for baseline, one in gain.items())
    first, second = (gain[baseline] for baseline in BASELINES)
    return (
        f'<li><span>{escape(name)}</span><svg role="img" aria-label="{escape(told)}" height="32" width="100%">'
        f'<line class="course-zero" x1="{place(0)}" x2="{place(0)}" y1="0" y2="32"/>'
        + _forest_mark(first, '<circle r="5"/>', 9, place)
        + _forest_mark(second, '<path d="M0 -6 6 0 0 6 -6 0Z"/>', 23, place)
        + "</svg></li>"
    )


def _forest_mark(found: Estimate, mark: str, y: int, place: Callable[[float], str]) -> str:
    return (
        f'<line class="course-bar" x1="{place(found.low)}" x2="{place(found.high)}" y1="{y}" y2="{y}"/>'
        f'<svg x="{place(found.mean)}" y="{y}" overflow="visible">{mark}</svg>'
    )


def _forest_axis(low: float, high: float, place: Callable[[float], str]) -> str:
    step = 0.05 * max(1, math.ceil((high - low) / 0.05 / 6))
    ticks = [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    texts = "".join(
        f'<text x="{place(tick)}" y="14" text-anchor="middle">{f"{tick:+.2f}" if abs(tick) > 1e-9 else "0"}</text>'
        for tick in ticks
    ).replace("-0", "−0")
    return f'<svg aria-hidden="true" height="20" width="100%">{texts}</svg>'


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]".replace("-", "−")


# ---- accuracy over depth, a panel for each set


def _multiples(card: Card) -> str:
    """Draw one panel a set: the linear probe open, kNN to be opened."""
    first, second = MEASURES
    return (
        f"<h4>Accuracy by stage, {MEASURES[first]}</h4>\n{_legend(card)}\n{_panels(card, first)}\n"
        f"<details><summary>The same by {MEASURES[second]}</summary>\n"
        f"{_legend(card)}\n{_panels(card, second)}\n</details>"
    )


def _legend(card: Card) -> str:
    keys = [(_key(f"course-{slug(kind)}", _MARKS[kind]), KINDS[kind]) for kind in card.kinds]
    keys += [(_key("course-pixels"), "raw pixels"), (_key("course-chance"), "always the largest class")]
    items = "".join(f"<li>{key} {escape(title)}</li>" for key, title in keys)
    return f'<ul class="course-legend">{items}</ul>'


def _key(name: str, mark: str = "") -> str:
    mark = f'<g transform="translate(17 7)">{mark}</g>' if mark else ""
    line = '<path class="course-line" d="M0 7H34"/>'
    return f'<svg class="{name}" aria-hidden="true" width="34" height="14">{line}{mark}</svg>'


def _panels(card: Card, measure: str) -> str:
    return f'<div class="course-panels">{"".join(_panel(card, found, measure) for found in card.sets)}</div>'


def _panel(card: Card, found: SetScores, measure: str) -> str:
    stages = list(card.stages)
    lines = "".join(
        f'<g class="course-{slug(kind)}">'
        + _curve([found.scores[kind][stage][measure] for stage in stages], _MARKS[kind], 5 * (number - 1))
        + "</g>"
        for number, kind in enumerate(card.kinds)
    )
    level = "".join(
        f'<path class="course-line course-{name}" d="M{_LEFT} {_up(value):.1f}H{_WIDTH - _RIGHT}"/>'
        for name, value in (("pixels", found.pixels[measure].mean), ("chance", found.chance))
    )
    told = [
        f"{KINDS[kind]} " + ", ".join(f"{found.scores[kind][stage][measure].mean:.2f}" for stage in stages)
        for kind in card.kinds
    ]
    alt = (
        f"{MEASURES[measure]} accuracy on {found.name} by stage ({', '.join(stages)}): {'; '.join(told)}; "
        f"raw pixels {found.pixels[measure].mean:.2f}; the largest class {found.chance:.2f}"
    )
    groups = f" in {found.groups:,} groups" if found.groups < found.n else ""
    return (
        f"<figure><figcaption><strong>{escape(found.name)}</strong> "
        f"<small>{counted(found.n, 'image')}{groups}, {found.classes} classes</small></figcaption>"
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{_grid(stages)}{level}{lines}</svg></figure>"
    )


def _curve(values: Sequence[Estimate], mark: str, shift: float) -> str:
    """Draw one line with its marks and the bars of their intervals, a little aside of the other lines."""
    points = [(_along(place, len(values)) + shift, _up(one.mean)) for place, one in enumerate(values)]
    bars = "".join(
        f'<path class="course-bar" d="M{x:.1f} {_up(one.low):.1f}V{_up(one.high):.1f}"/>'
        for (x, _), one in zip(points, values, strict=True)
    )
    line = f'<path class="course-line" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'
    return (
        line
        + bars
        + "".join(f'<g class="course-mark" transform="translate({x:.1f} {y:.1f})">{mark}</g>' for x, y in points)
    )


def _grid(stages: Sequence[str]) -> str:
    levels = "".join(
        f'<path class="course-grid" d="M{_LEFT} {_up(tick):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{_up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    )
    names = "".join(
        f'<text x="{_along(place, len(stages)):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(stage)}</text>'
        for place, stage in enumerate(stages)
    )
    return levels + names


def _along(place: int, number: int) -> float:
    """Return where a stage stands: the outer ones keep half a label's width from the panel's ends."""
    width = (_WIDTH - _LEFT - _RIGHT) / number
    return _LEFT + width * (place + 0.5)


def _up(value: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value


# ---- all numbers


def _table(card: Card) -> str:
    heads = ["Stage and measure", *(KINDS[kind] for kind in card.kinds)]
    heads += [f"own less {KINDS[baseline]}" for baseline in card.gain]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in heads)
    bodies = "\n".join(_body(card, found, len(heads)) for found in card.sets)
    table = (
        '<table class="table course-numbers"><caption>Accuracy with its 95 % interval; differences of accuracies on '
        "the same images with theirs. No interval here is corrected for their number: of forty that ought to hold "
        "zero, about two do not. The verdict rests on the last row of each set alone, the mean of all stages and both "
        "measures.</caption>"
        f"<thead><tr>{head}</tr></thead>{bodies}</table>"
    )
    return (
        f"<details><summary>All numbers of {escape(card.network)}</summary>\n"
        f"{_scrolling(f'All numbers of {card.network}', table)}\n</details>"
    )


def _body(card: Card, found: SetScores, columns: int) -> str:
    name = f"<span>{escape(found.name)} <small>{escape(found.source)}</small></span>"
    group = f'<tr class="course-group"><th scope="rowgroup" colspan="{columns}">{name}</th></tr>'
    return f"<tbody>{group}\n{''.join(_rows(card, found))}</tbody>"


def _rows(card: Card, found: SetScores) -> Iterator[str]:
    """Yield the rows of one set; what stands under no network stands under all of them."""
    for measure, title in MEASURES.items():
        across = f'<td colspan="{len(card.kinds)}">{_number(found.pixels[measure])}</td>'
        yield _row(f"raw pixels, {title}", across + "<td></td>" * len(card.gain))
        for stage in card.stages:
            cells = [_number(found.scores[kind][stage][measure]) for kind in card.kinds]
            cells += [_number(found.gains[baseline][stage][measure], "+") for baseline in card.gain]
            yield _row(f"{stage}, {title}", "".join(f"<td>{cell}</td>" for cell in cells))
    if found.gain:
        cells = "".join(f"<td>{_number(found.gain[baseline], '+')}</td>" for baseline in card.gain)
        yield _row("mean of all", f'<td colspan="{len(card.kinds)}"></td>{cells}')


def _row(name: str, cells: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _number(found: Estimate, sign: str = "") -> str:
    return f"{found.mean:{sign}.3f} <small>[{found.low:.3f}, {found.high:.3f}]</small>".replace("-", "−")


def _scrolling(name: str, table: str) -> str:
    box = '<div class="pst-scrollable-table-container" tabindex="0" role="region"'
    return f'{box} aria-label="{escape(name)}">{table}</div>'
