"""Pages taken apart: what a browser would make of them, without one."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}


class Document(HTMLParser):
    """The elements of a page with their attributes, and the text of each. Ends that do not fit are errors."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[list[str]] = []
        self._open: list[tuple[str, int]] = []
        self.feed(page)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"twice in {tag}: {names}"
        self.elements.append((tag, dict(attrs)))
        self.texts.append([])
        if tag not in VOID:
            self._open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> ends nothing"
        assert self._open[-1][0] == tag, f"</{tag}> in {self._open[-1][0]}"
        self._open.pop()

    def handle_data(self, data):
        for _, index in self._open:
            self.texts[index].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        """Elements of a kind, with their text; ``class_`` is one among the classes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}

        def fits(values: dict[str, str | None]) -> bool:
            for name, value in wanted.items():
                held = values.get(name)
                if held is None or not (value in held.split() if name == "class" else value == held):
                    return False
            return True

        return [
            (values, "".join(text))
            for (name, values), text in zip(self.elements, self.texts, strict=True)
            if name == tag and fits(values)
        ]

    def one(self, tag: str, **attributes: str) -> tuple[dict[str, str | None], str]:
        """The only one."""
        (found,) = self.all(tag, **attributes)
        return found
