"""Any storage as a filesystem of fsspec: pandas, dask, zarr, xarray, pyarrow and duckdb read and write through it.

``mgs://PROFILE/key`` works wherever fsspec takes a URL, and nothing has to be imported for it; `MgsFileSystem` is the
class behind it. Importing this needs the extra ``fsspec``.
"""

from __future__ import annotations

from mediagit_storage.errors import ConfigError

try:
    from mediagit_storage.integrations.fsspec.filesystem import MgsFileSystem
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "fsspec":
        raise
    raise ConfigError("the filesystem needs the extra 'fsspec': pip install 'mediagit-storage[fsspec]'") from None

__all__ = ["MgsFileSystem"]
