"""HTTP: requests as data, signing, shapes of documents, one transport over libcurl, one place that decides on retries.

Pure, with no socket and no clock of their own: everything but `transport` and its parts (`driver`, `pool`, `exchange`,
`stream`, `batch`), which alone import pycurl. Backends use `transport`.
"""
