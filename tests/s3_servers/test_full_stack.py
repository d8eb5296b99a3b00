"""The stack that people build for cheap, private, near storage, on a bucket of a real server."""

from __future__ import annotations

from mediagit_storage.testing.layered_s3 import OverSeaweedFSWithoutLinks
from mediagit_storage.testing.stacking import make_stack


class TestSeaweedFS(OverSeaweedFSWithoutLinks):
    def layered(self, inner):
        return make_stack(("cache", "compress", "encrypt"), inner)
