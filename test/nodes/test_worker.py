"""The worker thread."""

import threading

from octo_ros.nodes.worker import Worker

TIMEOUT_S = 5.0


def test_work_runs_in_another_thread() -> None:
    ran_in: list[int] = []
    done = threading.Event()

    def work(_job: str) -> None:
        ran_in.append(threading.get_ident())
        done.set()

    worker = Worker(work, lambda job, error: None)
    worker.submit('job')
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert ran_in != [threading.get_ident()]


def test_a_waiting_job_is_replaced_by_a_newer_one() -> None:
    started, go_on, last_done = threading.Event(), threading.Event(), threading.Event()
    ran = []

    def work(job: str) -> None:
        ran.append(job)
        if job == 'first':
            started.set()
            go_on.wait(TIMEOUT_S)
        if job == 'third':
            last_done.set()

    worker = Worker(work, lambda job, error: None)
    worker.submit('first')
    assert started.wait(TIMEOUT_S)
    worker.submit('second')
    worker.submit('third')
    go_on.set()
    assert last_done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert ran == ['first', 'third']


def test_the_thread_outlives_an_error_and_tells_of_it() -> None:
    done = threading.Event()
    errors = []

    def work(job: str) -> None:
        if job == 'bad':
            raise ValueError('no luck')
        done.set()

    def on_error(job: str, error: Exception) -> None:
        errors.append((job, str(error)))
        worker.submit('good')

    worker = Worker(work, on_error)
    worker.submit('bad')
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert errors == [('bad', 'no luck')]


def test_stop_says_when_the_job_in_hand_takes_too_long() -> None:
    started, go_on = threading.Event(), threading.Event()

    def work(_job: str) -> None:
        started.set()
        go_on.wait(TIMEOUT_S)

    worker = Worker(work, lambda job, error: None)
    worker.submit('slow')
    assert started.wait(TIMEOUT_S)
    assert not worker.stop(0.01)
    go_on.set()
    assert worker.stop(TIMEOUT_S)


def test_after_a_rest_that_took_too_long_jobs_still_run_one_by_one() -> None:
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()
    ran = []

    def work(job: str) -> None:
        ran.append(f'{job} begins')
        if job == 'slow':
            started.set()
            go_on.wait(TIMEOUT_S)
        ran.append(f'{job} ends')
        if job == 'next':
            done.set()

    worker = Worker(work, lambda job, error: None)
    worker.submit('slow')
    assert started.wait(TIMEOUT_S)
    worker.submit('dropped')
    assert not worker.rest(0.01)
    worker.submit('next')
    go_on.set()
    assert done.wait(TIMEOUT_S)
    assert worker.rest(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert ran == ['slow begins', 'slow ends', 'next begins', 'next ends']
