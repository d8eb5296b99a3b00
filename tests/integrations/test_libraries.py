"""pandas, zarr, xarray, pyarrow, duckdb and dask read and write through an encrypted, compressed, cached profile.

The profile is one on LocalStack. Importing these libraries takes seconds: each test imports what
it needs, and nothing does so while tests are collected.
"""

from __future__ import annotations

import gc
import subprocess
import sys

import fsspec
import pytest

from mediagit_storage import open_storage
from mediagit_storage.integrations.fsspec import MgsFileSystem
from mediagit_storage.layers.encrypt.key_writing import identity_text
from mediagit_storage.layers.encrypt.keys import generate_identity

pytestmark = [pytest.mark.uses_server("localstack"), pytest.mark.filterwarnings("default")]

PROFILE = """
[lab]
url = "s3://{bucket}/folder"
service = "aws"
retry_base = 0.01
retry_cap = 0.05
[[lab.layers]]
layer = "compress"
[[lab.layers]]
layer = "encrypt"
identity_file = "{identity}"
[[lab.layers]]
layer = "cache"
folder = "{cache}"
"""


@pytest.fixture
def lab(new_bucket, tmp_path, monkeypatch):
    """`mgs://lab/...` leads to a new bucket; in the end everything in it is encrypted, and that is looked at."""
    server, bucket = new_bucket("localstack")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    identity = tmp_path / "identity"
    identity.write_bytes(identity_text(generate_identity(), None))
    identity.chmod(0o600)
    text = PROFILE.format(bucket=bucket, identity=identity, cache=tmp_path / "cache")
    (tmp_path / "profiles.toml").write_text(text)
    monkeypatch.setenv("MGS_CONFIG", str(tmp_path / "profiles.toml"))
    yield
    with open_storage(f"s3://{bucket}/folder", options={"service": "aws"}) as stored:
        contents = list(stored.get_many(each.key for each in stored.list()))
        assert contents
        assert all(each.value.startswith(b"age-encryption.org/v1\n") for each in contents)
    MgsFileSystem.clear_instance_cache()
    gc.collect()


@pytest.fixture
def no_thread_of_zarr():
    """zarr keeps a thread and a loop of its own for the whole process, unless it is told to end."""
    yield
    import zarr

    zarr.core.sync.cleanup_resources()


def test_pandas(lab):
    import pandas as pd

    frame = pd.DataFrame({"number": range(1000), "name": [f"name {each}" for each in range(1000)]})
    frame.to_parquet("mgs://lab/frame.parquet")
    frame.to_csv("mgs://lab/frame.csv.gz", index=False)
    assert pd.read_parquet("mgs://lab/frame.parquet").equals(frame)
    assert pd.read_parquet("mgs://lab/frame.parquet", columns=["number"]).number.sum() == 499500
    assert pd.read_csv("mgs://lab/frame.csv.gz").equals(frame)


def test_dask(lab):
    import dask
    import dask.dataframe as dataframe
    import pandas as pd

    frame = pd.DataFrame({"number": range(10_000)})
    with dask.config.set(scheduler="synchronous"):
        dataframe.from_pandas(frame, npartitions=3).to_csv("mgs://lab/parts/*.csv", index=False)
        found = dataframe.read_csv("mgs://lab/parts/*.csv", blocksize=5000)
        assert found.npartitions > 3
        assert found.number.sum().compute() == 49_995_000


@pytest.mark.usefixtures("no_thread_of_zarr")
def test_zarr_and_xarray(lab):
    import numpy as np
    import zarr

    group = zarr.open_group("mgs://lab/group.zarr", mode="w")
    numbers = group.create_array("numbers", shape=(20, 20), chunks=(10, 10), dtype="i4")
    numbers[:] = np.arange(400).reshape(20, 20)
    found = zarr.open_group("mgs://lab/group.zarr", mode="r")["numbers"]
    assert (found[:] == np.arange(400).reshape(20, 20)).all()
    assert found[15, 3] == 303
    import xarray

    xarray.Dataset({"numbers": ("x", np.arange(5))}).to_zarr("mgs://lab/set.zarr", mode="w", consolidated=False)
    with xarray.open_zarr("mgs://lab/set.zarr", consolidated=False, chunks=None) as found:
        assert found.numbers.values.tolist() == [0, 1, 2, 3, 4]


def test_pyarrow(lab):
    import pyarrow as pa
    import pyarrow.dataset as dataset
    import pyarrow.fs as arrow

    fs = arrow.PyFileSystem(arrow.FSSpecHandler(fsspec.filesystem("mgs")))
    table = pa.table({"part": ["a", "a", "b"], "number": [1, 2, 3]})
    flavor = {"partitioning": ["part"], "partitioning_flavor": "hive"}
    dataset.write_dataset(table, "lab/set", format="parquet", filesystem=fs, **flavor)
    found = dataset.dataset("lab/set", filesystem=fs, format="parquet", partitioning="hive")
    assert sorted(each.split("/")[2] for each in found.files) == ["part=a", "part=b"]
    assert found.to_table(filter=dataset.field("part") == "b").to_pylist() == [{"number": 3, "part": "b"}]
    assert fs.get_file_info("lab/set").type == arrow.FileType.Directory
    assert fs.get_file_info("lab/nothing").type == arrow.FileType.NotFound


DUCKDB = """
import duckdb, fsspec
fs = fsspec.filesystem("mgs")
fs.pipe_file("lab/numbers.csv", b"number\\n" + b"".join(b"%d\\n" % each for each in range(1000)))
with duckdb.connect() as database:
    database.register_filesystem(fs)
    print(database.execute("select sum(number) from 'mgs://lab/*.csv'").fetchone())
    database.execute("copy (select * from 'mgs://lab/numbers.csv' where number < 3) to 'mgs://lab/few.parquet'")
    print(database.execute("select max(number), count(*) from 'mgs://lab/few.parquet'").fetchone())
"""


def test_duckdb(lab):
    """In a process of its own: it has a word to say when a test run ends, about what the run still holds."""
    result = subprocess.run([sys.executable, "-c", DUCKDB], capture_output=True, text=True, timeout=100)
    assert result.stdout == "(499500,)\n(2, 3)\n", result.stderr
