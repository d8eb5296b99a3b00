"""One measurement of one contestant on Azurite; prints one JSON line. The server is named by its connection string."""

from __future__ import annotations

from contest import PLACES, THREADS, Contestant, Ours, main

BLOCK = 4 * 2**20


def ours(server: str) -> Ours:
    """mediagit-storage: an MD5 with every write, kept ones checked with every read."""
    from mediagit_storage import AzureBackend, Storage

    return Ours(lambda place: Storage(AzureBackend.with_connection_string(place, server)))


class SDK(Contestant):
    """azure-storage-blob, with its defaults but for the size of blocks and how many travel at once, as ours."""

    def __init__(self, server: str) -> None:
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobServiceClient
        from requests import Session
        from requests.adapters import HTTPAdapter

        session = Session()
        # Its own pool has ten connections.
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        transport = RequestsTransport(session=session, session_owner=False)
        client = BlobServiceClient.from_connection_string(
            server, transport=transport, max_block_size=BLOCK, max_single_put_size=BLOCK, api_version="2024-08-04"
        )
        self.new, self.files, self.large, self.listed = map(client.get_container_client, PLACES)

    def get(self, key: str) -> bytes:
        return self.files.download_blob(key).readall()

    def put(self, key: str, data: bytes) -> object:
        return self.new.upload_blob(key, data, overwrite=True)

    def delete(self, key: str) -> object:
        return self.new.delete_blob(key)

    def delete_all(self, keys: list[str]) -> int:
        return sum(1 for start in range(0, len(keys), 256) for _ in self.new.delete_blobs(*keys[start : start + 256]))

    def names(self) -> int:
        return sum(1 for _ in self.listed.list_blobs())

    def download(self, path: str) -> object:
        with open(path, "wb") as file:
            return self.large.download_blob("large.bin", max_concurrency=8).readinto(file)

    def upload(self, path: str) -> object:
        with open(path, "rb") as file:
            return self.large.upload_blob("new.bin", file, overwrite=True, max_concurrency=8)


class Obstore(Contestant):
    """obstore, which is written in Rust and checks no digests here."""

    def __init__(self, server: str) -> None:
        import obstore
        from obstore.store import AzureStore

        self.obstore = obstore
        fields = dict(part.split("=", 1) for part in server.split(";") if part)
        options = {
            "account_name": fields["AccountName"], "account_key": fields["AccountKey"],
            "endpoint": fields["BlobEndpoint"], "client_options": {"allow_http": True},
        }  # fmt: skip
        self.new, self.files, self.large, self.listed = (AzureStore(each, **options) for each in PLACES)

    def get(self, key: str) -> bytes:
        return self.obstore.get(self.files, key).bytes().to_bytes()

    def put(self, key: str, data: bytes) -> object:
        return self.obstore.put(self.new, key, data)

    def delete(self, key: str) -> object:
        return self.obstore.delete(self.new, key)

    def delete_all(self, keys: list[str]) -> int:
        self.obstore.delete(self.new, keys)
        return len(keys)

    def names(self) -> int:
        return sum(len(page) for page in self.obstore.list(self.listed))

    def download(self, path: str) -> object:
        with open(path, "wb") as file:
            return file.writelines(self.obstore.get(self.large, "large.bin").stream(min_chunk_size=2**20))

    def upload(self, path: str) -> object:
        with open(path, "rb") as file:
            return self.obstore.put(
                self.large, "new.bin", file, use_multipart=True, chunk_size=BLOCK, max_concurrency=8
            )


CONTESTANTS = {
    "mediagit-storage": ours,
    "mediagit-storage, get_many and put_many": ours,
    "azure-storage-blob": SDK,
    "azure-storage-blob, 16 threads": SDK,
    "obstore": Obstore,
    "obstore, 16 threads": Obstore,
}

if __name__ == "__main__":
    main(CONTESTANTS)
