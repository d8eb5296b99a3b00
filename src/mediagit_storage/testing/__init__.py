"""For those who write a backend or a layer: the suite that every storage has to pass, and what it is tested with.

`mediagit_storage.testing.conformance`  the promises as tests, joined with a file of about 20 lines
`mediagit_storage.testing.model`        what a storage should hold, as a dictionary, and a Hypothesis machine over it
`mediagit_storage.testing.broken`       backends with one defect each, to see that the suite finds it
`mediagit_storage.testing.wrappers`     backends around backends: that log calls, hide capabilities, forbid I/O
`mediagit_storage.testing.stacking`     the built-in layers as rows, and stacks made of them
`mediagit_storage.testing.scripted_server`  a socket server that plays given bytes, resets and pauses
`mediagit_storage.testing.sources`      sources that fail, wait, or must not be read

Nothing in the library imports this package at run time. It needs pytest, and the model needs Hypothesis.
"""
