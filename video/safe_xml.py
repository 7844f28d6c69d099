"""Reading XML that may be hostile: no declarations that expand, no other files, bounds on size, depth and number.

The standard library's expat expands entities, of which a few hundred bytes can become gigabytes ("billion laughs"), and
knows external ones. Annotation needs neither, so any document type declaration is refused before it is read.
"""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Callable, Mapping

MAX_BYTES = 2**28
"""Of an XML document: about a million boxes as CVAT writes them."""
MAX_ELEMENTS = 5_000_000
MAX_DEPTH = 32
MAX_TEXT = 2**16
"""Characters directly inside one element."""


class XmlError(ValueError):
    """A document that is damaged or not allowed; the text names the line."""


def walk_xml(
    data: bytes,
    start: Callable[[tuple[str, ...], Mapping[str, str], int], None],
    end: Callable[[tuple[str, ...], str], None],
) -> None:
    """Go through a document: ``start(path, attributes, line)`` at each element's begin, ``end(path, text)`` at its end.

    ``path`` holds the names of the open elements from the root on, ``text`` what stands directly inside the element
    (behind its last child, if it has any).
    The whole document is given to expat at once: fed in pieces, one unfinished tag costs quadratic time. Raises
    XmlError with the line, also in place of an XmlError that ``start`` or ``end`` raise.
    """
    if len(data) > MAX_BYTES:
        raise XmlError(f"{len(data)} bytes are more than the limit of {MAX_BYTES}")
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    paths: list[tuple[str, ...]] = [()]
    texts = [""]
    elements = 0

    def open_element(name: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if len(paths) > MAX_DEPTH:
            raise XmlError(f"elements lie more than {MAX_DEPTH} deep in each other")
        if elements > MAX_ELEMENTS:
            raise XmlError(f"more than {MAX_ELEMENTS} elements")
        path = (*paths[-1], name)
        paths.append(path)
        texts[-1:] = ["", ""]  # what came before a child, as a rule blanks, is not kept
        start(path, attributes, parser.CurrentLineNumber)

    def close_element(name: str) -> None:
        end(paths.pop(), texts.pop())

    def add_text(text: str) -> None:
        if len(texts[-1]) + len(text) > MAX_TEXT:
            raise XmlError(f"more than {MAX_TEXT} characters of text in element {paths[-1][-1][:40]!r}")
        texts[-1] += text

    def refuse_declaration(*_: object) -> None:
        raise XmlError("a document type declaration (DOCTYPE), which annotation does not need, is not read")

    parser.StartElementHandler = open_element
    parser.EndElementHandler = close_element
    parser.CharacterDataHandler = add_text
    parser.StartDoctypeDeclHandler = refuse_declaration
    parser.EntityDeclHandler = refuse_declaration
    try:
        parser.Parse(data, True)
    except XmlError as error:
        raise XmlError(f"line {parser.CurrentLineNumber}: {error}") from None
    except xml.parsers.expat.ExpatError as error:
        reason = xml.parsers.expat.ErrorString(error.code)
        raise XmlError(f"line {error.lineno}: damaged XML: {reason}") from None
    except (LookupError, ValueError) as error:
        # an encoding that Python does not know, or that is not one byte a letter
        raise XmlError(f"line {parser.CurrentLineNumber}: damaged XML: {str(error)[:80]}") from None
