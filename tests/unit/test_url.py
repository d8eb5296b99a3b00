"""URLs, and which part of a command line's argument is the storage and which the key."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediagit_storage.errors import ConfigError
from mediagit_storage.url import (
    FORMAT_FILE,
    LocalFolders,
    StorageURL,
    parse_url,
    profile_part,
    split_local,
    split_target,
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://media", StorageURL("s3", "media")),
        ("s3://media/", StorageURL("s3", "media", None, "/")),
        ("S3://Media/A", StorageURL("s3", "Media", None, "/A")),
        ("s3://media/a/b?region=eu-west-1", StorageURL("s3", "media", None, "/a/b", {"region": "eu-west-1"})),
        ("s3://media?region=eu-west-1&x=", StorageURL("s3", "media", None, "", {"region": "eu-west-1", "x": ""})),
        ("minio://127.0.0.1:9000/b/p", StorageURL("minio", "127.0.0.1", 9000, "/b/p")),
        ("minio://[::1]:9000/b", StorageURL("minio", "[::1]", 9000, "/b")),
        ("az://my_container/x", StorageURL("az", "my_container", None, "/x")),
        ("memory://a", StorageURL("memory", "a")),
        ("memory://", StorageURL("memory")),
        ("file:///a/b", StorageURL("file", "", None, "/a/b")),
        ("file://localhost/a", StorageURL("file", "localhost", None, "/a")),
        ("file:///", StorageURL("file", "", None, "/")),
        ("/a/b", StorageURL("file", path="/a/b")),
        ("a/b", StorageURL("file", path="a/b")),
        ("a", StorageURL("file", path="a")),
        (".", StorageURL("file", path=".")),
        ("./x:y", StorageURL("file", path="./x:y")),
        ("../s3://x", StorageURL("file", path="../s3://x")),
        ("a/b:c", StorageURL("file", path="a/b:c")),
        ("/a?b=c#d%20", StorageURL("file", path="/a?b=c#d%20")),
        ("-:x", StorageURL("file", path="-:x")),
    ],
)
def test_what_it_means(text, url):
    assert parse_url(text) == url


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("%48%45", "HE"), ("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("%25", "%"), ("a+b", "a+b"), ("%C3%A9", "\u00e9"),
        ("\u00e9", "\u00e9"), ("a b", "a b"), ("e%CC%81", "e\u0301"), ("%23", "#"), ("%3F", "?"), ("a//b", "a//b"),
        ("../x", "../x"), ("%2e%2e", ".."), ("a@b:c", "a@b:c"),
    ],
)  # fmt: skip
def test_the_path_is_decoded_exactly_once(path, decoded):
    assert parse_url(f"s3://b/{path}").path == f"/{decoded}"


def test_names_of_local_files_need_not_be_utf8():
    assert parse_url("file:///a%FF").path == "/a\udcff"
    assert parse_url("file:///a\udcff").path == "/a\udcff"
    with pytest.raises(ConfigError, match="UTF-8"):
        parse_url("s3://b/a%FF")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("file:///a%00b", "NUL"),
        ("s3://b/a#b", "%23"),
        ("s3://b/a\nb", "control"),
        ("s3://b\x7f/a", "control"),
        ("s3://b/?x=a%0Ab", "control"),
        ("s3://b/%", "%25"),
        ("s3://b/%4", "%25"),
        ("s3://b/%Q0", "%25"),
        ("s3://b?x=%zz", "%25"),
        ("s3://b?x=1&x=2", "'x' is given twice"),
        ("s3://b?x=1&%78=2", "'x' is given twice"),
        ("s3://b?x", "name=value"),
        ("s3://b?=1", "name=value"),
        ("s3://b?a=1&&b=2", "name=value"),
        ("s3://b:0/x", "valid name or host"),
        ("s3://b:65536/x", "valid name or host"),
        ("s3://b:/x", "valid name or host"),
        ("s3://b:9x/x", "valid name or host"),
        ("s3://b c/x", "valid name or host"),
        ("s3://b%20c/x", "valid name or host"),
        ("s3://b\\c/x", "valid name or host"),
        ("s3://../x", "valid name or host"),
        ("s3://\u00e9/x", "valid name or host"),
        ("s3://[::1/x", "valid name or host"),
        (" s3://b/x", "not the name of a scheme"),
        ("a b://c", "not the name of a scheme"),
        ("a/b://c", "not the name of a scheme"),
        ("://c", "not the name of a scheme"),
        ("file://host/a", "file:///"),
        ("file://", "file:///"),
        ("file://localhost:80/a", "file:///"),
        ("file:a", "starts with file://"),
        ("s3:bucket", "starts with s3://"),
        ("S3:bucket/key", "starts with s3://"),
        ("C:\\x", "drive letters"),
        ("C:/x", "drive letters"),
        ("c:", "drive letters"),
        ("C://x", "drive letters"),
        ("media:a", r"names a profile.*\./media:"),
    ],
)
def test_what_is_refused_says_what_to_do(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_url(text)


CANARY = "canary-5Zq81"


@pytest.mark.parametrize(
    "text",
    [
        f"s3://user:{CANARY}@bucket/x", f"s3://{CANARY}@bucket", f"davs://user:{CANARY}@host:80/x?a=b",
        f"davs://user:{CANARY}/x@host/y", f"s3://user:{CANARY}\n@b", f"s3://user:{CANARY}@b/#x", f"s3://u:{CANARY}?@b",
        f"s3://b?x={CANARY}&x={CANARY}", f"s3://b?x={CANARY}%", f"s3://b?x={CANARY}%FF", f"s3://b?x={CANARY}%00",
    ],
)  # fmt: skip
def test_credentials_are_refused_and_never_shown(text):
    with pytest.raises(ConfigError) as caught:
        parse_url(text)
    shown = traceback.TracebackException.from_exception(caught.value)
    assert CANARY not in "".join(shown.format())
    assert caught.value.__cause__ is None


def test_options_do_not_show_in_the_repr():
    assert CANARY not in repr(parse_url(f"s3://b?secret={CANARY}"))


def test_a_leading_tilde_is_the_home_folder(home):
    assert parse_url("~/a").path == f"{home}/a"
    assert parse_url("~").path == str(home)
    assert parse_url("~/a/").path == f"{home}/a/"
    assert parse_url("./~").path == "./~"
    assert parse_url("~$doc.docx").path == "~$doc.docx"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("media:", ("media", "")), ("media:a/b", ("media", "a/b")), ("media:/a", ("media", "/a")),
        ("media:a%20b?c#d", ("media", "a%20b?c#d")), ("my.media-2_x:a:b", ("my.media-2_x", "a:b")),
        ("media:a\nb", ("media", "a\nb")), ("9p:", ("9p", "")),
        ("m:a", None), ("media", None), ("/media:a", None), ("./media:a", None), ("a/b:c", None), ("media://a", None),
        ("s3:a", None), ("S3:a", None), ("file:", None), (".x:a", None), ("-x:a", None), ("~x:a", None), ("", None),
    ],
)  # fmt: skip
def test_profiles(text, part):
    assert profile_part(text) == part


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(texts.filter(lambda text: "\0" not in text))
@example("a%2Fb")
@example("%")
def test_a_quoted_path_comes_back(text):
    assert parse_url(f"s3://b/{quote(text)}").path == f"/{text}"


@given(st.text(max_size=40))
def test_nothing_but_config_errors(text):
    for candidate in (text, f"s3://{text}", f"s3://b/{text}", f"s3://b?{text}"):
        try:
            url = parse_url(candidate)
        except ConfigError:
            continue
        assert "\0" not in url.path


class FakeFolders:
    """A file system that is two sets of paths."""

    def __init__(self, folders=(), files=(), current="/users/me"):
        self.folders = {"/", "/users", "/users/me", *folders}
        self.files = set(files)
        self._current = current

    def current(self):
        return self._current

    def is_folder(self, path):
        return self._real(path) in self.folders

    def exists(self, path):
        return self._real(path) in self.folders | self.files

    def _real(self, path):
        real: list[str] = []
        for segment in path.split("/"):
            if segment == "..":
                if "/" + "/".join(real) not in self.folders:
                    return None
                del real[-1:]
            elif segment not in {"", "."}:
                real.append(segment)
        return "/" + "/".join(real)


PLAIN = FakeFolders(["/data", "/data/sub"], ["/data/f", "/users/me/f"])


@pytest.mark.parametrize(
    ("path", "root", "key"),
    [
        ("/data", "/data", ""),
        ("/data/", "/data", ""),
        ("/data/sub", "/data/sub", ""),
        ("/data/f", "/data", "f"),
        ("/data/new", "/data", "new"),
        ("/data/new/", "/data", "new/"),
        ("/data/a/b/c", "/data", "a/b/c"),
        ("/data/f/x", "/data", "f/x"),
        ("/data//sub/./x", "/data/sub", "x"),
        ("/data/sub/../f", "/data/sub/..", "f"),
        ("/nowhere/x", "/", "nowhere/x"),
        ("/", "/", ""),
        ("f", "/users/me", "f"),
        (".", "/users/me", ""),
        ("./", "/users/me", ""),
        ("..", "/users/me/..", ""),
        ("../me/x", "/users/me/../me", "x"),
        ("a/b", "/users/me", "a/b"),
        ("/data/sub/...", "/data/sub", "..."),
    ],
)
def test_a_plain_folder_is_the_nearest_that_exists(path, root, key):
    assert split_local(path, PLAIN) == (root, key, False)


def test_a_file_is_no_folder():
    with pytest.raises(ConfigError, match="/data/f is a file"):
        split_local("/data/f/", PLAIN)


@pytest.mark.parametrize("path", ["/data/new/../x", "new/.."])
def test_what_leads_out_of_nothing_is_refused(path):
    with pytest.raises(ConfigError, match="does not exist"):
        split_local(path, PLAIN)


SHARDED = FakeFolders(["/data", "/data/s", "/data/s/zz", "/data/other"], [f"/data/s/{FORMAT_FILE}"], current="/data/s")


@pytest.mark.parametrize(
    ("path", "root", "key"),
    [
        ("/data/s", "/data/s", ""),
        ("/data/s/", "/data/s", ""),
        ("/data/s/a/b", "/data/s", "a/b"),
        ("/data/s/a/", "/data/s", "a/"),
        ("/data/s/zz", "/data/s", "zz"),
        ("a", "/data/s", "a"),
        ("zz/../a", "/data/s/zz/..", "a"),
    ],
)
def test_within_a_sharded_storage_its_root_counts(path, root, key):
    assert split_local(path, SHARDED) == (root, key, True)


def test_a_path_that_leaves_a_sharded_storage_is_outside_of_it():
    assert split_local("../other/x", SHARDED) == ("/data/s/../other", "x", False)


@pytest.mark.parametrize(
    ("text", "storage", "key"),
    [
        ("s3://b/a/b", "s3://b", "a/b"),
        ("s3://b/a/", "s3://b", "a/"),
        ("s3://b", "s3://b", ""),
        ("s3://b/", "s3://b", ""),
        ("s3://b/a%20b?region=x", "s3://b?region=x", "a b"),
        ("s3://b//a", "s3://b", "/a"),
        ("memory://m/a", "memory://m", "a"),
        ("media:a%20b", "media:", "a%20b"),
        ("media:", "media:", ""),
        ("/data/f", "/data", "f"),
        ("./x:y", "/users/me", "x:y"),
        ("file:///data/new%20x?durability=none", "file:///data?durability=none", "new x"),
        ("file:///data/sub", "file:///data/sub", ""),
    ],
)
def test_targets(text, storage, key):
    assert split_target(text, {"media"}, folders=PLAIN) == (storage, key)


def test_a_sharded_storage_is_opened_as_one():
    assert split_target("/data/s/a", folders=SHARDED) == ("file:///data/s?layout=sharded", "a")
    assert split_target("file:///data/s/a?layout=plain", folders=SHARDED) == ("file:///data/s?layout=plain", "a")
    assert split_target("file:///data/s/a?durability=none", folders=SHARDED) == (
        "file:///data/s?durability=none&layout=sharded",
        "a",
    )


def test_where_the_bucket_is_in_the_path():
    split = split_target("minio://h:1/b/a%20x?y=1", key_of=lambda url: url.path.split("/", 2)[2])
    assert split == ("minio://h:1/b?y=1", "a x")


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"no profile 'photo' \(known: media, other\).*\./photo:"):
        split_target("photo:1.jpg", {"other", "media"})


def test_the_storage_part_opens_what_it_came_from():
    target = split_target("file:///data/a%23b%3F/x", folders=FakeFolders(["/data", "/data/a#b?"]))
    assert parse_url(target.storage).path == "/data/a#b?"


def test_real_folders(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    folders = LocalFolders()
    assert split_local("link/x", folders) == (f"{tmp_path}/link", "x", False)
    assert split_local("dangling", folders) == (str(tmp_path), "dangling", False)
    with pytest.raises(ConfigError, match="is a file"):
        split_local("dangling/", folders)
    (tmp_path / "d" / FORMAT_FILE).parent.mkdir()
    (tmp_path / "d" / FORMAT_FILE).write_text("{}")
    assert split_local("link/x/y", folders) == (f"{tmp_path}/link", "x/y", True)
