"""One measurement of one contestant on rclone's WebDAV; prints one JSON line. The server is named by its URL with keys."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

from contest import PLACES, Contestant, Ours, main


def parts(server: str) -> tuple[str, str, str]:
    """URL, user and password."""
    url = urlsplit(server)
    return f"http://{url.hostname}:{url.port}", url.username or "", url.password or ""


def ours(server: str) -> Ours:
    """mediagit-storage: every upload under another name first, then moved."""
    from mediagit_storage import Storage, WebDAVBackend

    url, user, password = parts(server)
    return Ours(
        lambda place: Storage(WebDAVBackend(f"{url}/{place}", username=user, password=password, service="rclone"))
    )


class Webdav4(Contestant):
    """webdav4 on httpx, which writes in place."""

    def __init__(self, server: str) -> None:
        from webdav4.client import Client

        url, user, password = parts(server)
        self.new, self.files, self.large, self.listed = (
            Client(f"{url}/{place}", auth=(user, password), timeout=60) for place in PLACES
        )

    def get(self, key: str) -> bytes:
        target = io.BytesIO()
        self.files.download_fileobj(key, target)
        return target.getvalue()

    def put(self, key: str, data: bytes) -> object:
        return self.new.upload_fileobj(io.BytesIO(data), key, overwrite=True)

    def delete(self, key: str) -> object:
        return self.new.remove(key)

    def names(self) -> int:
        return sum(each["type"] == "file" for each in self.listed.ls("", detail=True))

    def download(self, path: str) -> object:
        return self.large.download_file("large.bin", path)

    def upload(self, path: str) -> object:
        return self.large.upload_file(path, "new.bin", overwrite=True)


CONTESTANTS = {
    "mediagit-storage": ours,
    "mediagit-storage, get_many and put_many": ours,
    "webdav4": Webdav4,
    "webdav4, 16 threads": Webdav4,
}

if __name__ == "__main__":
    main(CONTESTANTS)
