"""matplotlib figures as SVG that lives inside a page: its colours, its fonts, its ids."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from matplotlib.figure import Figure

from adapt.drawing import COLOURS, printable

__all__ = ["Plot", "inline_svg"]


@dataclass(frozen=True)
class Plot:
    """A figure: its title, what to see in it, and the <svg> element."""

    name: str
    title: str
    caption: str
    svg: str


_VARIABLES = {colour.light: f"var(--{name})" for name, colour in COLOURS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))

_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """`figure` as an <svg> element, equal bytes for equal figures.

    `name` starts every id, so that several figures can share a page; `description` is what a
    screen reader says in the figure's place. Call it inside `figure_style(name)`.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    # matplotlib wrote it, so it holds no entities that could hurt.
    root = ET.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _adopt(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"class": "plot", "role": "img", "aria-label": printable(description)})
    return ET.tostring(root, encoding="unicode")


def _adopt(element: ET.Element, name: str) -> None:
    """Take namespaces off, tie the ids to the figure and the colours to the page's variables."""
    element.tag = _local(element.tag)
    attributes = {_local(key): value for key, value in element.attrib.items()}
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    if attributes.get("href", "").startswith("#"):
        attributes["href"] = f"#{name}-{attributes['href'][1:]}"
    for key, value in attributes.items():
        value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
        attributes[key] = _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
    element.attrib.clear()
    element.attrib.update(attributes)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
