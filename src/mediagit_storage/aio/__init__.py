"""The face of `Storage` for tasks: `AsyncStorage`, on asyncio and trio, with no other library.

A task that calls `get` hands its operation to a lane: one thread that runs the storage's own batch, through all layers,
and is fed by all tasks. Answers come back through a port, one for each event loop, many with one awakening. What cannot
travel so runs in a pool of threads.
"""

from __future__ import annotations

from mediagit_storage.aio.files import AsyncReader, AsyncWriter
from mediagit_storage.aio.iteration import AsyncBatch, AsyncItems, AsyncObjectStream
from mediagit_storage.aio.storage import AsyncStorage

__all__ = ["AsyncBatch", "AsyncItems", "AsyncObjectStream", "AsyncReader", "AsyncStorage", "AsyncWriter"]
