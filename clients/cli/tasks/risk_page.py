"""The risk report as one page: no script, no request, everything in it."""

from __future__ import annotations

from html import escape
from string import Template

from clients.cli.tasks.mechanisms import Mechanism
from clients.cli.tasks.risk_words import headline, named_risks
from policies.risk import RiskReport

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Risk report: $title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .4rem .6rem; text-align: left; }
td + td, th + th { text-align: right; white-space: nowrap; }
svg { width: 100%; height: auto; }
</style>
</head>
<body>
<h1>Risk report</h1>
<p><strong>$title</strong><br>$headline</p>
<table>
<thead><tr><th scope="col">At most</th><th scope="col">without the model</th>
<th scope="col">with it</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
<figure role="img" aria-label="What a guess becomes with the model, and epsilon by delta">
$picture
</figure>
<h2>How to read it</h2>
<p>Each line bounds every attack on the data of one $unit, by anybody, with any computer, who knows
all other data, the code and every intermediate model. Real attackers know less.</p>
<ul>
<li><em>Members found</em>: somebody has the data of one $unit and asks whether it was used. The
share of those used that any test recognises while it wrongly accuses one in a thousand others.</li>
<li><em>Membership advantage</em>: the most by which any such test finds more members than it
accuses others.</li>
<li><em>Right guess</em>: somebody guesses the data of one $unit itself, to whatever likeness counts
as right. The column in the middle is how often that succeeds without the model.</li>
</ul>
<h2>What it does not say</h2>
<p>What the model says about people like them is no risk in this sense: it would say that without
this $unit too. Several releases from the same data add up; this page weighs one. The figures hold
for the mechanism as it is stated: $event</p>
<table>
<thead><tr><th scope="col">delta</th><th scope="col">epsilon</th></tr></thead>
<tbody>
$epsilons
</tbody>
</table>
</body>
</html>
""")


def render_page(found: Mechanism, report: RiskReport, *, picture: bytes) -> str:
    """Return the page as HTML, with an SVG picture in it."""
    rows = [(risk.name, risk.without, risk.with_it) for risk in named_risks(report)]
    return _PAGE.substitute(
        title=escape(found.title),
        headline=escape(headline(found, report)),
        unit=escape(found.unit),
        rows="\n".join(_row(*row) for row in rows),
        epsilons="\n".join(_row(f"{d:g}", f"{e:.4g}") for d, e in report.epsilons),
        picture=_inline(picture),
        event=escape(_event(found)),
    )


def _row(name: str, *cells: str) -> str:
    others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{others}</tr>'


def _inline(picture: bytes) -> str:
    """Return an SVG without the heading that only a file of its own has."""
    text = picture.decode()
    return text[text.index("<svg") :]


def _event(found: Mechanism) -> str:
    training = found.training
    if training is None:
        return "the composed mechanisms of the given event."
    return (
        f"{training.steps} steps of Gaussian noise, multiplier {training.noise_multiplier:g}, "
        f"each over units drawn with probability {training.sampling_rate:.4g}."
    )
