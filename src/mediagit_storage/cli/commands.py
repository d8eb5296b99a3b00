"""The commands and what each is for, in the order of the help. Nothing of a command is imported to show this."""

from __future__ import annotations

from typing import Final

__all__ = ["COMMANDS"]

#: Command to the first line of its help; the module of the same name in this package holds it.
COMMANDS: Final[dict[str, str]] = {
    "ls": "List objects and folders.",
    "stat": "Show everything about objects.",
    "cat": "Write objects, or parts of them, to standard output.",
    "put": "Store a file or standard input as one object.",
    "get": "Fetch one object into a file.",
    "cp": "Copy files, folders and objects between any two storages.",
    "mv": "Move files, folders and objects between any two storages.",
    "sync": "Make a folder like another: copy what is missing or different.",
    "migrate": "Move a storage to another one, and prove that everything arrived.",
    "verify": "Read everything, and find what is damaged, missing or different.",
    "manifest": "Write down the name, size and digest of every object.",
    "gc": "Delete objects that nothing references, after a time of grace.",
    "rm": "Delete objects.",
    "du": "Count objects and bytes, by folder.",
    "mb": "Make a bucket, container or root folder.",
    "versions": "List, bring back and delete old versions of objects.",
    "uploads": "List and abort uploads that were begun and never ended.",
    "check": "Try a storage and say what is wrong with it.",
    "bench": "Measure how quick a storage is.",
    "presign": "Make a link that lets its holder get, put or delete an object for a while.",
    "cdn": "Links of the CDN in front of a storage, and its copies dropped.",
    "serve": "Serve a storage over HTTP: objects, a web console, health and metrics.",
    "keys": "Make, show and rotate the keys of encrypted storages.",
    "profile": "Show and change the named storages.",
    "cache": "Show and empty the folders in which caches keep what was read.",
    "mirror": "Show what the replicas of a mirror lack, and copy it from the primary.",
    "completion": "Print the completion script of a shell.",
    "version": "Show the versions of this program and what it runs on.",
}
