"""Self-contained HTML pages from templates and figures, which require no network."""

import base64
import hashlib
import re
import tomllib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave

from bidsapp.bids.derivatives import write_bytes
from bidsapp.reports.page.style import STYLE

PNG_DPI = 120

_JPEG = {"quality": 85, "subsampling": 0}

_ZOOM = 1.8
"""Largest scale of SVG figures, pixels per point, so that text has a similar size in all."""


@cache
def _environment() -> Environment:
    """Return the environment of all pages, which keeps the compiled templates."""
    environment = Environment(
        loader=PackageLoader("bidsapp.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = version("metperf")
    environment.globals["script"] = script("sort.js", "flicker.js", "rating.js")
    environment.globals["script_hash"] = script_hash
    return environment


def section_rows(name: str) -> list[dict[str, Any]]:
    """Return the sections of a page in their order, from a TOML file of the templates.

    Parameters
    ----------
    name : str
        Such as ``"sections.toml"``.

    Returns
    -------
    rows : list of dict
        ``id``, ``title``, ``intro``, ``absent``; of the group page also ``function``, and
        ``reading`` with ``how``, ``good`` and ``bad``.

    Examples
    --------
    >>> section_rows("sections.toml")[0]["id"], section_rows("groupsections.toml")[0]["id"]
    ('timeline', 'characteristics')
    """
    text = (files("bidsapp.reports") / "templates" / name).read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["section"]
    return rows


def script(*names: str) -> Markup:
    """Join scripts of ``bidsapp/reports/templates`` as content of a ``<script>`` element.

    Parameters
    ----------
    *names : str

    Returns
    -------
    code : markupsafe.Markup

    Examples
    --------
    >>> "use strict" in script("sort.js")
    True
    """
    folder = files("bidsapp.reports") / "templates"
    code = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    return Markup(code)  # noqa: S704 (scripts of this package)


def script_hash(code: str) -> str:
    """Return the hash of a script, with which the page's security policy allows only this script.

    Parameters
    ----------
    code : str
        Text between ``<script>`` and ``</script>``.

    Returns
    -------
    source : str

    Examples
    --------
    >>> script_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    digest = hashlib.sha256(code.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def render(template: str, **context: object) -> str:
    """Fill a template of ``bidsapp/reports/templates``.

    Parameters
    ----------
    template : str
        File name, such as ``"participant.html.j2"``.
    **context : object
        Variables of the template. Text is escaped unless it is ``Markup``; a variable that is
        not defined is an error.

    Returns
    -------
    html : str

    Examples
    --------
    >>> "Perfusion MRI" in render("base.html.j2")
    True
    """
    return _environment().get_template(template).render(**context)


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure as SVG: the same figure always gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    data : bytes

    Examples
    --------
    >>> svg_bytes(Figure()) == svg_bytes(Figure())
    True
    """
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def pdf_bytes(figure: Figure) -> bytes:
    """Render a figure as PDF with text as text: the same figure always gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    data : bytes

    Examples
    --------
    >>> pdf_bytes(Figure())[:4]
    b'%PDF'
    """
    buffer = BytesIO()
    with mpl.rc_context({**STYLE, "pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None})
    return buffer.getvalue()


def png_bytes(figure: Figure, dpi: float = PNG_DPI) -> bytes:
    """Render a figure as PNG: the same figure always gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    dpi : float
        Pixels per inch.

    Returns
    -------
    data : bytes

    Examples
    --------
    >>> png_bytes(Figure(), dpi=20)[1:4]
    b'PNG'
    """
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def webp_bytes(png: bytes) -> bytes:
    """Return a PNG image as lossless WebP, which takes about 60 % of the space.

    Parameters
    ----------
    png : bytes

    Returns
    -------
    data : bytes

    Examples
    --------
    >>> webp_bytes(png_bytes(Figure(), dpi=20))[8:16]
    b'WEBPVP8L'
    """
    buffer = BytesIO()
    pixels = imread(BytesIO(png), format="png")
    imsave(buffer, pixels, format="webp", pil_kwargs={"lossless": True})
    return buffer.getvalue()


def jpeg_bytes(figure: Figure, dpi: float = PNG_DPI) -> bytes:
    """Render a figure of grey-scale images as JPEG: the same figure always gives the same bytes.

    Colours have the resolution of the grey scale, so that thin coloured lines remain sharp.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    dpi : float
        Pixels per inch.

    Returns
    -------
    data : bytes

    Examples
    --------
    >>> jpeg_bytes(Figure(), dpi=20)[:2].hex()
    'ffd8'
    """
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs=_JPEG)
    return buffer.getvalue()


def inline_svg(data: bytes, alt: str) -> Markup:
    """Return an SVG file as an element of a page, with ids that are unique in the page.

    Parameters
    ----------
    data : bytes
        From `svg_bytes`.
    alt : str
        Alternative text.

    Returns
    -------
    element : markupsafe.Markup
        ``<svg role="img" aria-label=...>``; a group if it contains links to other pages.

    Examples
    --------
    >>> str(inline_svg(b"<?xml?><svg/>", "f < 1"))
    '<svg role="img" aria-label="f &lt; 1"/>'
    """
    text, links = _LINK.subn(_link, data.decode())
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    prefix = f"f{hashlib.sha256(data + alt.encode()).hexdigest()[:10]}-"
    body = _make_ids_unique(re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL), prefix)
    drawing = Markup(body[len("<svg") :])  # noqa: S704 (matplotlib escapes the text it draws)
    width = re.match(r'[^>]*?width="([0-9.]+)pt"', body)
    limit = f' style="max-width:{float(width[1]) * _ZOOM:.0f}px"' if width else ""
    head = Markup('<svg role="{}" aria-label="{}"').format("group" if links else "img", alt)
    return head + Markup(limit) + drawing  # noqa: S704 (a number)


_LINK = re.compile(r'<a xlink:href="\.\./((sub-[^."]+)\.html(?:#lesion-([^"]+))?)"[^>]*>')
"""A link of a figure in its folder to the page of a participant."""


def _link(match: re.Match[str]) -> str:
    """Return a link as seen from the page, with a title.

    Keyboards skip it: the tables of the page have the same links, a single one per participant.
    """
    href, participant, lesion = match.groups()
    title = f"{participant}, lesion {lesion}" if lesion else participant
    return f'<a href="{href}" tabindex="-1"><title>{title}</title>'


def _make_ids_unique(drawing: str, prefix: str) -> str:
    """Remove ids that are not referenced or are repeated, and prefix the others."""
    wanted = set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawing))

    def identify(match: re.Match[str]) -> str:
        if match[1] not in wanted:
            return ""
        wanted.remove(match[1])
        return f' id="{prefix}{match[1]}"'

    def retag(match: re.Match[str]) -> str:
        return re.sub(
            r'(url\(#|href="#)', rf"\1{prefix}", re.sub(r' id="([^"]*)"', identify, match[0])
        )

    return re.sub(r"<[^>]+>", retag, drawing)


def inline_image(data: bytes, alt: str, kind: str = "png") -> Markup:
    """Return an image file as an element of a page.

    Parameters
    ----------
    data : bytes
    alt : str
        Alternative text.
    kind : {"png", "jpeg", "webp"}

    Returns
    -------
    element : markupsafe.Markup
        ``<img alt=... src="data:image/...;base64,...">``.

    Examples
    --------
    >>> str(inline_image(b"", "a map"))
    '<img alt="a map" src="data:image/png;base64,">'
    """
    code = base64.b64encode(data).decode("ascii")
    return Markup('<img alt="{}" src="data:image/{};base64,{}">').format(alt, kind, code)


def write_page(path: Path, html: str) -> None:
    """Write a page atomically, as UTF-8.

    Parameters
    ----------
    path : pathlib.Path
    html : str

    Raises
    ------
    NotWritable
        If the folder or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(Path(folder, "p.html"), "<p>µ</p>")
    ...     Path(folder, "p.html").read_text(encoding="utf-8")
    '<p>µ</p>'
    """
    write_bytes(path, html.encode())
