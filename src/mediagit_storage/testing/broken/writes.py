"""Stores that write, copy or delete wrongly."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, NotFoundError, StorageError, UnsupportedError
from mediagit_storage.source import BytesSource, FileSource, Source
from mediagit_storage.testing.broken.base import Broken, rewrite, whole
from mediagit_storage.testing.sources import DeliberateError
from mediagit_storage.types import (
    Attributes,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PutOptions,
)

__all__ = ["WRITES"]


class LosesTheLastByte(MemoryBackend):
    """Stores all but the last byte."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Short."""
        return super().put(key, BytesSource(whole(source)[:-1]), options)


class LosesAPieceAtAThreshold(MemoryBackend):
    """Loses the second piece of what comes in pieces."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """As if a part had not been sent."""
        if source.buffer() is not None:
            return super().put(key, source, options)
        pieces = [bytes(chunk) for chunk in source.chunks()]
        return super().put(key, BytesSource(b"".join(pieces[:1] + pieces[2:])), options)


class KeepsPiecesTooLong(MemoryBackend):
    """Joins the pieces of a source when it has all of them."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """A buffer that is filled anew for each piece is stored as often as it came, with its last filling."""
        return super().put(key, BytesSource(b"".join(source.chunks())), options)


class CommitsHalfWhenTheSourceFails(MemoryBackend):
    """Stores what it had when the source failed."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """All or half."""
        if source.buffer() is not None:
            return super().put(key, source, options)
        content = bytearray()
        try:
            for chunk in source.chunks():
                content += chunk
        finally:
            info = rewrite(self, key, bytes(content), options)
        return info


class CommitsWhenCancelled(MemoryBackend):
    """Takes a cancelled scope for the end of the source."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Swallows the news, and tells it afterwards."""
        content = bytearray()
        try:
            for chunk in source.chunks():
                content += chunk
        except CancelledError:
            rewrite(self, key, bytes(content), options)
            raise
        return rewrite(self, key, bytes(content), options)


class ShowsPartsEarly(MemoryBackend):
    """Lets readers see an object grow."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Visible from the first piece on."""
        if source.buffer() is not None:
            return super().put(key, source, options)
        info, content = rewrite(self, key, b"", options), b""
        for chunk in source.chunks():
            content += chunk
            info = rewrite(self, key, content, replace(options, if_absent=False, if_match=None))
        return info


class TearsOverwrites(MemoryBackend):
    """Overwrites in two steps."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """For a moment only the first half is there."""
        data = whole(source)
        info = rewrite(self, key, data[: len(data) // 2], options)
        time.sleep(0.002)
        plain = replace(options, if_absent=False, if_match=None)
        return rewrite(self, key, data, plain) if len(data) > 1 else info


class ListsTemporaries(MemoryBackend):
    """Writes under another name first, which listings show."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """With a temporary object beside it."""
        rewrite(self, key + ".tmp", b"")
        try:
            return super().put(key, source, options)
        finally:
            super().delete(key + ".tmp", DeleteOptions())


class LeavesTemporariesOfFailures(MemoryBackend):
    """Leaves its temporary object behind when the source fails."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Cleans up only when all went well."""
        rewrite(self, "tmp-" + key, b"")
        info = super().put(key, source, options)
        super().delete("tmp-" + key, DeleteOptions())
        return info


class ClosesTheCallersFile(MemoryBackend):
    """Closes a file that belongs to the caller."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Too tidy."""
        info = super().put(key, source, options)
        inner = vars(source).get("_inner", source)
        if isinstance(inner, FileSource):
            vars(inner)["_file"].close()
        return info


class IfAbsentIsTwoSteps(MemoryBackend):
    """Looks first and writes then, with time for others in between."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Not atomic."""
        if options.if_absent:
            data = whole(source)
            super().put(key + "?", BytesSource(b""), PutOptions())
            super().delete(key + "?", DeleteOptions())
            if not any(each.key == key for each in self.list(key, ListOptions())):
                time.sleep(0.01)
                return rewrite(self, key, data, replace(options, if_absent=False))
        return super().put(key, source, options)


class IfAbsentOverwrites(MemoryBackend):
    """Forgets a create-only condition."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Unconditional."""
        return super().put(key, source, replace(options, if_absent=False))


class IfMatchIsIgnored(MemoryBackend):
    """Writes whatever the ETag."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Unconditional."""
        return super().put(key, source, replace(options, if_match=None))


class IfMatchCreates(MemoryBackend):
    """Takes a condition on an object that is not there for fulfilled."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Creates what should have been replaced."""
        try:
            self.stat(key)
        except NotFoundError:
            options = replace(options, if_match=None)
        return super().put(key, source, options)


class PromisesTooMuch(MemoryBackend):
    """Says that it can write on condition, and finds out that it cannot when the source is read."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Refuses late."""
        if options.if_absent:
            whole(source)
            raise UnsupportedError("after all, no create-only writes")
        return super().put(key, source, options)


class KeepsOldAttributes(MemoryBackend):
    """Merges the attributes of an overwrite into those of before."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """The old ones stay where no new ones come."""
        try:
            old = self.stat(key).attributes
        except StorageError:
            old = None
        return super().put(key, source, replace(options, attributes=options.attributes or old))


class DropsMetadata(MemoryBackend):
    """Keeps the content type and nothing else."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forgetful."""
        given = options.attributes or Attributes()
        return super().put(key, source, replace(options, attributes=Attributes(content_type=given.content_type)))


class InventsAContentType(MemoryBackend):
    """Guesses what nobody asked for."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Too helpful."""
        guessed = options.attributes or Attributes(content_type="application/octet-stream")
        return super().put(key, source, replace(options, attributes=guessed))


class CopyIsAnAlias(MemoryBackend):
    """Makes a copy that follows its source."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """One object under two names."""
        info = super().copy(source, target, options)
        self.__dict__.setdefault("aliases", {}).setdefault(source, []).append(target)
        return info

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Also to the copy."""
        info = super().put(key, source, options)
        for target in self.__dict__.get("aliases", {}).get(key, []):
            super().copy(key, target, CopyOptions())
        return info


class CopyDropsAttributes(MemoryBackend):
    """Copies the bytes only."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Bare."""
        return super().copy(source, target, replace(options, attributes=options.attributes or Attributes()))


class CopyIgnoresNewAttributes(MemoryBackend):
    """Keeps the source's attributes though others are given."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Always the old ones."""
        return super().copy(source, target, replace(options, attributes=None))


class CopyIgnoresItsSource(MemoryBackend):
    """Copies whatever lies under the source's key by now."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """On no condition."""
        return super().copy(source, target, replace(options, if_match=None))


class CopyIgnoresIfAbsent(MemoryBackend):
    """Copies over an object though it must not."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Unconditional."""
        return super().copy(source, target, replace(options, if_absent=False))


class CopyRemovesItsTargetFirst(MemoryBackend):
    """Makes room before it copies, and so loses an object that is copied onto itself."""

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """In the wrong order."""
        if not options.if_absent:
            self.delete(target, DeleteOptions())
        return super().copy(source, target, options)


class RenameLeavesTheSource(MemoryBackend):
    """Copies and calls it a rename."""

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Both are there."""
        return self.copy(source, target, CopyOptions(if_absent=if_absent))


class RenameDropsAttributes(MemoryBackend):
    """Moves the bytes only."""

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Bare."""
        info = self.copy(source, target, CopyOptions(Attributes(), if_absent))
        self.delete(source, DeleteOptions())
        return info


class RenameDeletesBeforeItKnows(MemoryBackend):
    """Removes the source also when the target refuses."""

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Loses an object."""
        try:
            return self.copy(source, target, CopyOptions(if_absent=if_absent))
        finally:
            self.delete(source, DeleteOptions())


class DeleteOfMissingFails(MemoryBackend):
    """Insists on there being something to delete."""

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Not idempotent."""
        super().delete(key, replace(options, missing_ok=False))


class DeleteOfMissingIsSilent(MemoryBackend):
    """Does not tell those who asked."""

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Always fine."""
        super().delete(key, replace(options, missing_ok=True))


class DeleteTakesSiblings(MemoryBackend):
    """Deletes all that starts with the key."""

    def delete(self, key: str, options: DeleteOptions) -> None:
        """A prefix is no key."""
        for each in [*self.list(key, ListOptions())]:
            if each.key != key:
                super().delete(each.key, DeleteOptions())
        super().delete(key, options)


class DeleteIgnoresIfMatch(MemoryBackend):
    """Deletes whatever is there."""

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Unconditional."""
        super().delete(key, replace(options, if_match=None))


class LeavesPendingUploads(MemoryBackend):
    """Forgets to abort the upload of a source that failed."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """An orphan stays for each failure."""
        try:
            return super().put(key, source, options)
        except DeliberateError:
            self._uploads["orphan"] = PendingUpload(key, "orphan", datetime.now(UTC))
            raise


WRITES: Final = (
    Broken(LosesTheLastByte, "test_sizes_around_every_threshold"),
    Broken(LosesAPieceAtAThreshold, "test_sizes_around_every_threshold"),
    Broken(KeepsPiecesTooLong, "test_a_source_may_use_one_buffer_again_and_again"),
    Broken(CommitsHalfWhenTheSourceFails, "test_a_failing_source_stores_nothing"),
    Broken(CommitsWhenCancelled, "test_a_put_that_is_cancelled_never_appears"),
    Broken(ShowsPartsEarly, "test_a_put_is_invisible_until_it_is_complete"),
    Broken(TearsOverwrites, "test_readers_see_whole_objects_during_overwrites"),
    Broken(ListsTemporaries, "test_a_put_is_invisible_until_it_is_complete"),
    Broken(LeavesTemporariesOfFailures, "test_a_failing_source_stores_nothing"),
    Broken(ClosesTheCallersFile, "test_every_kind_of_source"),
    Broken(IfAbsentIsTwoSteps, "test_of_many_creators_exactly_one_succeeds"),
    Broken(IfAbsentOverwrites, "test_create_only_meets_an_object"),
    Broken(IfMatchIsIgnored, "test_a_write_over_a_known_object"),
    Broken(IfMatchCreates, "test_a_write_over_a_known_object"),
    Broken(PromisesTooMuch, "test_create_only_meets_an_object"),
    Broken(KeepsOldAttributes, "test_an_overwrite_replaces_bytes_and_attributes"),
    Broken(DropsMetadata, "test_all_attributes_make_the_round_trip"),
    Broken(InventsAContentType, "test_put_guesses_nothing"),
    Broken(CopyIsAnAlias, "test_a_copy_keeps_or_replaces_attributes"),
    Broken(CopyDropsAttributes, "test_a_copy_keeps_or_replaces_attributes"),
    Broken(CopyIgnoresNewAttributes, "test_a_copy_keeps_or_replaces_attributes"),
    Broken(CopyIgnoresItsSource, "test_a_copy_on_condition_of_its_source"),
    Broken(CopyIgnoresIfAbsent, "test_a_create_only_copy"),
    Broken(CopyRemovesItsTargetFirst, "test_onto_itself_nothing_is_lost"),
    Broken(RenameLeavesTheSource, "test_a_rename_moves_everything"),
    Broken(RenameDropsAttributes, "test_a_rename_moves_everything"),
    Broken(RenameDeletesBeforeItKnows, "test_a_create_only_copy"),
    Broken(DeleteOfMissingFails, "test_deleting_a_missing_object_is_fine"),
    Broken(DeleteOfMissingIsSilent, "test_deleting_a_missing_object_is_fine"),
    Broken(DeleteTakesSiblings, "test_a_delete_takes_nothing_else"),
    Broken(DeleteIgnoresIfMatch, "test_a_delete_on_condition"),
    Broken(LeavesPendingUploads, "test_a_failing_source_stores_nothing"),
)
