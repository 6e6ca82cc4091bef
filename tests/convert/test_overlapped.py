import threading
import time

from cyclegan_gc.convert.batch import overlapped


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
