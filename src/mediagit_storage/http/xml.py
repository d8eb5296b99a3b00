"""Reading and writing XML that a server may have got wrong, or made to do harm. No I/O.

The reader is expat, fed in pieces. A DOCTYPE is refused, so no entity but the five predefined and the numeric ones
exists; size and depth are bounded; a document that ends early is an error and never a short list. White space
between elements does not count, white space in the text of an element does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from mediagit_storage.errors import IntegrityError, InvalidKeyError, LimitExceededError, TruncatedError

__all__ = [
    "MAX_DEPTH",
    "MAX_DOCUMENT",
    "MAX_TEXT",
    "Document",
    "RecordParser",
    "element",
    "escape",
    "is_representable",
    "looks_whole",
    "parse_records",
]

#: The largest document that is read, in bytes: a listing of 1,000 keys of 1,024 escaped bytes stays well below.
MAX_DOCUMENT: Final = 32 * 1024 * 1024

#: How deep elements may lie in each other.
MAX_DEPTH: Final = 32

#: The longest text of one element that is gathered while a document arrives in pieces, in characters.
MAX_TEXT: Final = 1024 * 1024

# Stands between the address of a namespace and a name; expat takes any character that no address holds.
_SEPARATOR: Final = "\n"

#: What expat says of a document that ends too early.
_ENDED_EARLY: Final = frozenset(
    {
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    }
)


@dataclass(slots=True)
class Document:
    """What was read: the root's name, the text of its leaves outside of records, and the records in order.

    A root without elements has its own text in the field ``""``.

    A record is its element's name with the texts of the leaves in it, by their path (``Key``, ``Owner/ID``), and the
    attributes of elements in it (``Name@Encoded``). Names are without namespaces. Where a leaf comes twice, the last
    one counts.
    """

    root: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    records: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class RecordParser:
    """Reads one document in pieces. The elements named in ``records`` become records, wherever they lie.

    A record within a record is one of its own, and comes before the one around it. ``on_record`` is handed each as
    soon as it ends, in the place of `Document.records`; what it raises comes out of `feed` and `close`.

    `feed` and `close` raise `IntegrityError` for what is no XML or holds a DOCTYPE, `TruncatedError` for a document
    that ends early, and `LimitExceededError` for one that is too large or too deep.
    """

    def __init__(
        self,
        records: Collection[str] = (),
        *,
        limit: int = MAX_DOCUMENT,
        on_record: Callable[[str, dict[str, str]], None] | None = None,
    ) -> None:
        self._wanted = frozenset(records)
        self._limit = limit
        self._on_record = on_record
        self._size = 0
        self._path: list[str] = []
        self._text: list[str] = []
        self._leaf = False
        self._record: dict[str, str] | None = None
        self._base = 1
        #: The records around the present one, with the depth that each begins at.
        self._around: list[tuple[dict[str, str] | None, int]] = []
        self._document = Document()
        parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser = parser

    def feed(self, data: bytes) -> None:
        """Take in the next piece."""
        self._size += len(data)
        if self._size > self._limit:
            raise LimitExceededError(f"the server sent an XML document of more than {self._limit:,} bytes")
        self._parse(data, final=False)
        if len(self._text) > 1 and sum(map(len, self._text)) > MAX_TEXT:
            raise LimitExceededError(f"the server sent an XML element with a text of more than {MAX_TEXT:,} characters")

    def close(self) -> Document:
        """The whole document, once it has come to its end."""
        self._parse(b"", final=True)
        return self._document

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            if final and error.code in _ENDED_EARLY:
                raise TruncatedError(f"the server's XML document ends early: {reason}") from None
            raise IntegrityError(f"the server's answer is not XML: {reason} in line {error.lineno}") from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(_SEPARATOR)[2]
        path = self._path
        if len(path) >= MAX_DEPTH:
            raise LimitExceededError(f"the server sent an XML document deeper than {MAX_DEPTH} elements")
        if not path:
            self._document.root = name
        path.append(name)
        if len(path) > 1 and name in self._wanted:
            self._around.append((self._record, self._base))
            self._record = {}
            self._base = len(path)
        elif attributes and self._record is not None:
            place = "/".join(path[self._base :])
            self._record.update({f"{place}@{each.rpartition(_SEPARATOR)[2]}": attributes[each] for each in attributes})
        self._text.clear()
        self._leaf = True

    def _end(self, _tag: str) -> None:
        path = self._path
        if self._record is not None and len(path) == self._base:
            done = self._record
            self._record, self._base = self._around.pop()
            if self._on_record is None:
                self._document.records.append((path[-1], done))
            else:
                self._on_record(path[-1], done)
        elif self._leaf:
            target = self._document.fields if self._record is None else self._record
            target["/".join(path[self._base :])] = "".join(self._text)
        path.pop()
        self._text.clear()
        self._leaf = False


def _refuse_doctype(_name: str, _system: str | None, _public: str | None, _internal: bool) -> NoReturn:  # noqa: FBT001  # expat's own
    raise IntegrityError("the server sent an XML document with a DOCTYPE, which no storage does")


def parse_records(data: bytes, records: Collection[str] = (), *, limit: int = MAX_DOCUMENT) -> Document:
    """Read a whole document at once. See `RecordParser`."""
    parser = RecordParser(records, limit=limit)
    parser.feed(data)
    return parser.close()


_FIRST_TAG: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<([A-Za-z_][\w.:-]*)[\s>]").match
_LAST_TAG: Final = re.compile(rb"</([A-Za-z_][\w.:-]*)\s*>\s*\Z").search


def looks_whole(data: bytes, *, error: str = "Error") -> bool:
    """Whether a document ends with the tag that it begins with, and is not called ``error``. It is not read for that."""
    first, last = _FIRST_TAG(data), _LAST_TAG(data[-256:])
    return first is not None and last is not None and first[1] == last[1] and first[1] != error.encode()


# ---- writing -------------------------------------------------------------------------------------------------------

_SPECIAL: Final = re.compile("[&<>\"'\t\n\r]")
_NAMED: Final[Mapping[str, str]] = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_IMPOSSIBLE: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]").search


def is_representable(text: str) -> bool:
    """Whether a document can hold this text at all."""
    return _IMPOSSIBLE(text) is None


def escape(text: str) -> str:
    """Text as it stands in a document, so that every reader gets back exactly this.

    Line ends and tabs are written as numbers, since readers change them otherwise. Raises `InvalidKeyError` for the
    characters that XML 1.0 cannot hold in any form (most control characters, U+FFFE, U+FFFF, lone surrogates).
    """
    found = _IMPOSSIBLE(text)
    if found:
        raise InvalidKeyError(f"the character U+{ord(found[0]):04X} cannot be sent in an XML document", key=text)
    return _SPECIAL.sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    return _NAMED.get(found[0]) or f"&#{ord(found[0])};"


def element(name: str, *content: str) -> str:
    """One element around ``content``, which is XML already (`escape`, `element`)."""
    return f"<{name}>{''.join(content)}</{name}>"
