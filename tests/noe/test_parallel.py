import os

from piva.noe.generated import draw_all


def square(number):
    return number * number, os.getpid()


def test_results_keep_the_order_of_the_jobs():
    alone, together = (draw_all(square, range(6), workers, "squares") for workers in (1, 2))
    assert [value for value, _ in alone] == [value for value, _ in together] == [0, 1, 4, 9, 16, 25]
    assert {process for _, process in alone} == {os.getpid()}
    assert os.getpid() not in {process for _, process in together}
