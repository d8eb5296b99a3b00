"""The content type that a key suggests: by the ending of its last segment, whatever else is in the key."""

from __future__ import annotations

import pytest

from mediagit_storage.attributes import guess_content_type


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.png", "image/png"),
        ("A.PNG", "image/png"),
        ("photos.png/readme", None),
        ("photos.v2/cat.final.jpg", "image/jpeg"),
        ("a.tar.gz", "application/gzip"),
        ("a.svg.xz", "application/x-xz"),
        ("a", None),
        ("a.", None),
        (".png", None),
        ("photos/.png", None),
        ("photos/.hidden.png", "image/png"),
        ("a.nobody-knows", None),
        ("data:text/plain,hello", None),
        ("http://example.org/a.png?x", None),
        ("", None),
    ],
)
def test_the_last_ending_counts(key, expected):
    assert guess_content_type(key) == expected
