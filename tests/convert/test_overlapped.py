import threading
import time

import pytest

from cyclegan_gc.convert import batch
from cyclegan_gc.convert.batch import overlapped
from cyclegan_gc.errors import StoppedError


def test_items_come_in_order_and_never_more_than_three_are_alive():
    alive, most, lock = 0, 0, threading.Lock()

    def read(item: int) -> int:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return item

    def write(item: int) -> int:
        nonlocal alive
        time.sleep(0.005)
        with lock:
            alive -= 1
        return -item

    assert list(overlapped(range(20), read, lambda item: item + 1, write)) == [-n - 1 for n in range(20)]
    assert alive == 0 and most <= 4  # the fourth waits to be handed over


def test_reading_and_writing_go_on_while_work_is_done():
    def pause(item: int) -> int:
        time.sleep(0.05)
        return item

    since = time.perf_counter()
    assert list(overlapped(range(8), pause, pause, pause)) == list(range(8))
    assert time.perf_counter() - since < 0.75 * 8 * 3 * 0.05


def test_nothing_to_do_is_done():
    assert list(overlapped([], str, str, str)) == []


@pytest.mark.parametrize("fault", [SystemExit(0), MemoryError("too large"), KeyboardInterrupt()])
@pytest.mark.parametrize("stage", [0, 2])
def test_any_error_in_a_thread_ends_the_batch(fault, stage):
    def fail(item: int) -> int:
        raise fault

    stages = [fail if number == stage else int for number in range(3)]
    with pytest.raises(StoppedError, match=rf"ended with {type(fault).__name__}.*start again"):
        list(overlapped(range(3), *stages))


def test_a_thread_that_hangs_does_not_keep_the_others(monkeypatch):
    monkeypatch.setattr(batch, "GRACE_SECONDS", 0.1)
    released = threading.Event()

    def read(item: int) -> int:
        if item:
            released.wait(60)
        return item

    def work(item: int) -> int:
        raise KeyboardInterrupt

    since = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(3), read, work, int))
    assert time.perf_counter() - since < 5
    released.set()
