"""Unfinished uploads looked into, versions in the order of servers that have another, and names that are taken."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mediagit_storage.errors import AlreadyExistsError, BucketNotFoundError, NotFoundError
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.types import PendingUpload

UPLOAD = PendingUpload("a/k", "U 1", datetime(2044, 11, 1, tzinfo=UTC))


def parts(*rows: tuple[int, int, str | None], more: bool = False) -> bytes:
    """A page of ListParts: number, size, and the time of each."""
    items = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>&quot;e&quot;</ETag>"
        + (f"<LastModified>{when}</LastModified>" if when else "")
        + "</Part>"
        for number, size, when in rows
    )
    marker = f"<NextPartNumberMarker>{rows[-1][0]}</NextPartNumberMarker>" if more else ""
    truncated = str(more).lower()
    return f"<ListPartsResult><IsTruncated>{truncated}</IsTruncated>{marker}{items}</ListPartsResult>".encode()


def test_what_has_arrived_and_when(play):
    """All pages of parts are added up; the newest part says when something last arrived."""
    first = parts((1, 10, "2044-11-05T08:00:00.000Z"), (2, 20, "2044-11-06T09:30:00.000Z"), more=True)
    second = parts((3, 3, "2044-11-06T08:00:00.000Z"))
    store, server = play(ok(200, first, etag=None), ok(200, second, etag=None))
    found = store.stat_upload(UPLOAD)
    assert (found.key, found.id, found.started, found.size) == ("a/k", "U 1", UPLOAD.started, 33)
    assert found.active == datetime(2044, 11, 6, 9, 30, tzinfo=UTC)
    assert lines(server) == [
        "GET /bucket/a/k?uploadId=U%201",
        "GET /bucket/a/k?part-number-marker=2&uploadId=U%201",
    ]


def test_nothing_has_arrived(play):
    store, _ = play(ok(200, parts(), etag=None))
    found = store.stat_upload(UPLOAD)
    assert (found.size, found.active) == (0, None)


def test_parts_without_times(play):
    store, _ = play(ok(200, parts((1, 7, None)), etag=None))
    found = store.stat_upload(UPLOAD)
    assert (found.size, found.active) == (7, None)


def test_one_that_has_ended(play):
    store, _ = play(refused(404, "NoSuchUpload"))
    with pytest.raises(NotFoundError, match="completed or aborted"):
        store.stat_upload(UPLOAD)
    store, _ = play(refused(404, "NoSuchBucket"))
    with pytest.raises(BucketNotFoundError):
        store.stat_upload(UPLOAD)


def version(tag: str, key: str, name: str, second: int, *, latest: bool = False) -> str:
    size = "<Size>1</Size><ETag>&quot;e&quot;</ETag>" if tag == "Version" else ""
    return (
        f"<{tag}><Key>{key}</Key><VersionId>{name}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
        f"<LastModified>2044-11-06T08:49:{second:02}.000Z</LastModified>{size}</{tag}>"
    )


@pytest.mark.parametrize(
    "rows",
    [
        # The object was deleted; marks come last.
        [
            version("Version", "k", "2", 2),
            version("Version", "k", "1", 1),
            version("DeleteMarker", "k", "3", 3, latest=True),
        ],
        # The same within one second.
        [
            version("Version", "k", "2", 1),
            version("Version", "k", "1", 1),
            version("DeleteMarker", "k", "3", 1, latest=True),
        ],
        # The object came back; marks come first.
        [
            version("DeleteMarker", "k", "2", 2),
            version("Version", "k", "3", 3, latest=True),
            version("Version", "k", "1", 1),
        ],
    ],
    ids=["marks last", "in one second", "marks first"],
)
def test_the_latest_version_comes_first_whatever_the_order_of_the_server(play, rows):
    """Whoever deletes all but the first would else delete the object itself."""
    document = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListVersionsResult>"
    store, _ = play(ok(200, document.encode(), etag=None))
    found = [info.version for info in store.list(versions=True)]
    assert found[0] == "3"
    assert sorted(found) == ["1", "2", "3"]


def test_a_name_that_somebody_else_has_taken(play):
    store, server = play(refused(409, "BucketAlreadyExists"), refused(403, "AccessDenied"))
    with pytest.raises(AlreadyExistsError, match="choose another"):
        store.create()
    assert [line.split()[0] for line in lines(server)] == ["PUT", "HEAD"]


def test_a_name_that_is_ours_already(play):
    store, _ = play(refused(409, "BucketAlreadyOwnedByYou"), ok(200))
    store.create()
