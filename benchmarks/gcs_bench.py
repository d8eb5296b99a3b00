"""One measurement of one contestant on fake-gcs-server; prints one JSON line. The server is named by its URL."""

from __future__ import annotations

import os

from contest import BIG, MANY, NEW, PLACES, READ, THREADS, Contestant, Ours, main

#: With each chunk the server computes the digests of all that came before: few chunks, for everybody.
CHUNK = 64 * 2**20


def ours(server: str) -> Ours:
    """mediagit-storage on an emulator: a digest with every write, digests checked with every read."""
    from mediagit_storage import open_storage

    return Ours(lambda place: open_storage(f"gs://{place}", options={"emulator_host": server, "part_size": CHUNK}))


class SDK(Contestant):
    """google-cloud-storage, with the checksums that it uses unless told otherwise."""

    def __init__(self, server: str) -> None:
        os.environ["STORAGE_EMULATOR_HOST"] = server
        import requests
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        self.client = Client(project="p", credentials=AnonymousCredentials())
        # Its own pool has ten connections.
        self.client._http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
        self.new, self.files, self.large, self.listed = map(self.client.bucket, PLACES)

    def get(self, key: str) -> bytes:
        return self.files.blob(key).download_as_bytes()

    def put(self, key: str, data: bytes) -> object:
        return self.new.blob(key).upload_from_string(data, content_type="application/octet-stream")

    def delete(self, key: str) -> object:
        return self.new.blob(key).delete()

    def names(self) -> int:
        return sum(1 for _ in self.client.list_blobs(self.listed))

    def download(self, path: str) -> object:
        return self.large.blob("large.bin").download_to_filename(path)

    def upload(self, path: str) -> object:
        return self.large.blob("new.bin", chunk_size=CHUNK).upload_from_filename(path)


class Gcsfs(Contestant):
    """gcsfs, whose bulk calls are tasks of one event loop."""

    def __init__(self, server: str) -> None:
        # It would ask by gRPC, over TLS, what kind of bucket it is: no emulator answers that.
        os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
        import gcsfs

        self.fs = gcsfs.GCSFileSystem(project="p", token="anon", endpoint_url=server, use_listings_cache=False)

    def get(self, key: str) -> bytes:
        return self.fs.cat_file(f"{READ}/{key}")

    def put(self, key: str, data: bytes) -> object:
        return self.fs.pipe_file(f"{NEW}/{key}", data)

    def delete(self, key: str) -> object:
        return self.fs.rm_file(f"{NEW}/{key}")

    def get_all(self, keys: list[str]) -> int:
        return sum(map(len, self.fs.cat([f"{READ}/{key}" for key in keys]).values()))

    def put_all(self, keys: list[str], data: bytes) -> int:
        self.fs.pipe({f"{NEW}/{key}": data for key in keys})
        return len(keys)

    def delete_all(self, keys: list[str]) -> int:
        self.fs.rm([f"{NEW}/{key}" for key in keys])
        return len(keys)

    def names(self) -> int:
        return len(self.fs.find(MANY))

    def download(self, path: str) -> object:
        return self.fs.get_file(f"{BIG}/large.bin", path)

    def upload(self, path: str) -> object:
        return self.fs.put_file(path, f"{BIG}/new.bin", chunksize=CHUNK)


CONTESTANTS = {
    "mediagit-storage": ours,
    "mediagit-storage, get_many and put_many": ours,
    "google-cloud-storage": SDK,
    "google-cloud-storage, 16 threads": SDK,
    "gcsfs": Gcsfs,
    "gcsfs, asyncio": Gcsfs,
}

if __name__ == "__main__":
    main(CONTESTANTS)
