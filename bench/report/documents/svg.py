"""Makes a picture's SVG file a part of an HTML page: nothing of it reaches beyond itself, and it scales."""

import re
import xml.etree.ElementTree as ET
from typing import Final, NamedTuple

# What only a file of its own needs; its styles, which are for every element, would be for those of the page too.
_LEFT_OUT: Final = {"metadata", "style"}
_FIXED: Final = ("width", "height", "version")
_UNUSUAL: Final = re.compile(r"[^\t\n\r\x20-\x7e]")
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# '#ffffff' alone is a colour, but for where an element may refer to another.
_REFERENCE: Final = re.compile(r"(?<=url\(#)[^)]+")
_REFERRING: Final = "href"
_FONT: Final = re.compile(r"font-family: [^;]*;? ?")  # as long as all the rest of a text; the page has it once


class Inline(NamedTuple):
    """A picture as an element of HTML, and whether its title is written in it."""

    markup: str
    titled: bool


def inlined(file: bytes, *, prefix: str, title: str, alt: str) -> Inline:
    """Return the SVG element of a file, for an HTML page.

    Its ids begin with `prefix`, of which a page has no other. `title` and `alt` are what is read aloud.
    """
    root = ET.fromstring(_UNUSUAL.sub(_shown, file.decode("utf-8")))
    for element in root.iter():
        _bare(element)
    written = "".join(text for one in root.iter("text") for text in one.itertext())
    for name in _FIXED:
        root.attrib.pop(name, None)
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        _prefix(element, prefix, used)
    names = {"title": title, "desc": alt}
    root.attrib |= {"role": "img", "aria-labelledby": " ".join(f"{prefix}{name}" for name in names)}
    root.attrib["preserveAspectRatio"] = "xMinYMin"
    for place, (name, text) in enumerate(names.items()):
        told = ET.Element(name, {"id": f"{prefix}{name}"})
        told.text = text
        root.insert(place, told)
    return Inline(ET.tostring(root, encoding="unicode"), titled=_unspaced(title) in _unspaced(written))


def _unspaced(text: str) -> str:
    """Return a text without white space: a title is written in several lines."""
    return "".join(text.split())


def _shown(found: re.Match[str]) -> str:
    """Return a character, or what stands for one that is not to be seen, some of which XML forbids."""
    return found[0] if found[0].isprintable() or found[0] == _NO_BREAK else "�"


def _bare(element: ET.Element) -> None:
    """Take the namespaces from an element, which in HTML it has anyway, and those of its children not wanted."""
    for child in list(element):
        if _local(child.tag) in _LEFT_OUT:
            element.remove(child)
    element.tag = _local(element.tag)
    element.attrib = {_local(name): text for name, text in element.attrib.items()}
    if element.text is not None and not element.text.strip():
        element.text = None
    if element.tail is not None and not element.tail.strip():
        element.tail = None
    if element.tag == "text" and "style" in element.attrib:
        element.attrib["style"] = _FONT.sub("", element.attrib["style"])


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _references(element: ET.Element) -> list[str]:
    """Return the ids that an element refers to."""
    named = element.attrib.get(_REFERRING, "")
    within = [name for text in element.attrib.values() for name in _REFERENCE.findall(text)]
    return [named.removeprefix("#"), *within] if named.startswith("#") else within


def _prefix(element: ET.Element, prefix: str, used: set[str]) -> None:
    """Prefix the id of an element and those that it refers to; an id that nothing refers to goes."""
    attributes = {name: _REFERENCE.sub(rf"{prefix}\g<0>", text) for name, text in element.attrib.items()}
    ident, named = attributes.pop("id", ""), attributes.get(_REFERRING, "")
    if ident in used:
        attributes["id"] = f"{prefix}{ident}"
    if named.startswith("#"):
        attributes[_REFERRING] = f"#{prefix}{named[1:]}"
    element.attrib = attributes
