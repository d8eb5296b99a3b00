"""Listings: pages one ahead, order, servers without any, versions and uploads."""

from __future__ import annotations

import pytest

from mediagit_storage.errors import (
    AccessError,
    BucketNotFoundError,
    IntegrityError,
    InvalidKeyError,
    NotFoundError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.testing.scripted_server import Receive
from mediagit_storage.types import Folder


def page(*keys: str, token: str | None = None, folders: tuple[str, ...] = ()):
    """A page of a listing."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2044-11-06T08:49:37.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    rows += "".join(f"<CommonPrefixes><Prefix>{each}</Prefix></CommonPrefixes>" for each in folders)
    more = f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
    more += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return ok(200, f"<ListBucketResult>{more}{rows}</ListBucketResult>".encode(), etag=None)


def test_pages_are_walked_in_order(play):
    store, server = play(page("a", "b", token="t1"), page("c", token="t2"), page("d"))
    assert [info.key for info in store.list()] == ["a", "b", "c", "d"]
    assert [("continuation-token=t1" in line, "continuation-token=t2" in line) for line in lines(server)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_the_next_page_travels_while_one_is_used(play):
    store, server = play((Receive(), page("a", "b", token="t1"), Receive(), page("c")))
    listing = store.list()
    assert next(listing).key == "a"
    for _ in range(6000):
        if len(server.received) == 2:
            break
        server.stopping.wait(0.01)
    assert len(server.received) == 2, "the second page was not asked for while the first was used"
    assert [info.key for info in listing] == ["b", "c"]


def test_a_listing_left_early_asks_no_further(play):
    store, server = play(page("a", token="t1"), page("b", token="t2"), page("c"))
    listing = store.list()
    next(listing)
    listing.close()
    assert len(server.received) <= 2


def test_a_page_is_asked_for_again(play):
    store, _ = play(page("a", token="t1"), refused(503, "SlowDown"), page("b"))
    assert [info.key for info in store.list()] == ["a", "b"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(refused(404, "NoSuchBucket"), BucketNotFoundError), (refused(403, "AccessDenied"), AccessError)],
)
def test_a_failure_is_raised_at_the_first_item(play, failure, kind):
    store, _ = play(failure)
    with pytest.raises(kind):
        next(store.list())


@pytest.mark.parametrize("second", [page("a"), page("b", "a")])
def test_a_server_out_of_order_is_caught(play, second):
    store, _ = play(page("b", token="t1"), second)
    with pytest.raises(IntegrityError, match="ordered=false"):
        list(store.list())


def test_a_page_that_is_cut_off_is_no_end(play):
    broken = ok(200, b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a", etag=None)
    store, _ = play(broken)
    with pytest.raises(IntegrityError):
        list(store.list())


def test_what_comes_before_the_start_is_left_out(play):
    store, _ = play(page("a", "b", "c"))
    assert [info.key for info in store.list(start_after="b")] == ["c"]


def test_one_level_is_sorted_together(play):
    store, _ = play(page("a", "c", folders=("b/", "0/")))
    names = [each.prefix if isinstance(each, Folder) else each.key for each in store.list_dir()]
    assert names == ["0/", "a", "b/", "c"]


def test_a_server_without_order_is_walked_by_folders(play):
    pages = [page("z", "a!", folders=("b/", "a/")), page("a/2", "a/1"), page("b/1", "b/")]
    store, server = play(*pages, service="seaweedfs")
    assert [info.key for info in store.list()] == ["a!", "a/1", "a/2", "b/", "b/1", "z"]
    assert all("delimiter=%2F" in line for line in lines(server))


def test_keys_that_xml_cannot_hold_are_not_sent_to_be_repeated(play):
    store, server = play(page("a", "b"))
    assert [info.key for info in store.list(start_after="a\x01")] == ["b"]
    assert "start-after" not in lines(server)[0]


def test_versions_of_servers_that_list_marks_last(play):
    def version(tag: str, key: str, name: str, second: int, latest: bool) -> str:
        size = "<Size>1</Size><ETag>&quot;e&quot;</ETag>" if tag == "Version" else ""
        return (
            f"<{tag}><Key>{key}</Key><VersionId>{name}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
            f"<LastModified>2044-11-06T08:49:{second:02}.000Z</LastModified>{size}</{tag}>"
        )

    rows = version("Version", "a", "1", 1, False) + version("Version", "b", "2", 1, True)
    rows += version("DeleteMarker", "a", "3", 1, True)
    document = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{rows}</ListVersionsResult>"
    store, _ = play(ok(200, document.encode(), etag=None))
    assert [(info.key, info.version, info.deleted) for info in store.list(versions=True)] == [
        ("a", "3", True),
        ("a", "1", False),
        ("b", "2", False),
    ]


def test_no_uploads_said_with_an_error(play):
    store, _ = play(refused(404, "NoSuchUpload"))
    assert [*store.pending_uploads()] == []


def test_aborting_what_is_gone_is_fine(play):
    from datetime import UTC, datetime

    from mediagit_storage.types import PendingUpload

    store, _ = play(refused(404, "NoSuchUpload"))
    store.abort_upload(PendingUpload("k", "U", datetime.now(UTC)))
    store, _ = play(refused(404, "NoSuchBucket"))
    with pytest.raises(BucketNotFoundError):
        store.abort_upload(PendingUpload("k", "U", datetime.now(UTC)))


def test_a_bucket_that_exists_is_fine(play):
    store, _ = play(refused(409, "BucketAlreadyOwnedByYou"), ok())
    store.create()
    store, server = play((Receive(), ok()), service="aws", region="eu-west-1")
    store.create(versioning=True)
    assert b"<LocationConstraint>eu-west-1<" in server.received[0]
    assert b"<Status>Enabled<" in server.received[1]


def test_keys_that_a_server_would_take_for_others_are_never_touched(play):
    store, server = play(ok(), service="seaweedfs")
    raw = Storage(store.backend, keys="raw", owned=False)
    for key in ("a//b", "/a", "a/", "a/../b", "a\\b"):
        with pytest.raises(InvalidKeyError):
            raw.put(key, b"x")
        with pytest.raises(NotFoundError):
            raw.get(key)
        assert raw.exists(key) is False
        raw.delete(key)
        raw.delete_many([key]).run()
        assert [*raw.list("a//b")] == []
    assert server.received == []
