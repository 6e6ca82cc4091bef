"""Reading, work and writing overlapped: while one case is worked on, the next is read and the last is written."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Written],
) -> Iterator[Written]:
    """``write(work(read(item)))`` of every item, in order, each step in a thread of its own (work in the caller's).

    Never more than three items are in memory: one being read, one worked on, one written.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        ahead: Future[Read] | None = reader.submit(read, items[0]) if items else None
        behind: Future[Written] | None = None
        for item in [*items[1:], None]:
            if ahead is None:
                return
            loaded = ahead.result()
            ahead = reader.submit(read, item) if item is not None else None
            worked = work(loaded)
            del loaded
            if behind is not None:
                yield behind.result()
            behind = writer.submit(write, worked)
            del worked
        if behind is not None:
            yield behind.result()
