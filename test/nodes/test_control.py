"""Activation and deactivation around inferences that take their time."""

import threading

from trajectory_msgs.msg import JointTrajectory

from octo_ros.nodes import control
from octo_ros.policy.fakes import FakePolicy


def test_an_inference_that_outlasts_deactivation_never_runs_beside_the_next(
        ros, make_controller, make_camera, monkeypatch) -> None:
    monkeypatch.setattr(control, '_WORKER_TIMEOUT_S', 0.05)
    started, go_on = threading.Event(), threading.Event()
    lock = threading.Lock()
    running, most, windows = 0, 0, []

    def before_infer(window) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            windows.append(window)
        started.set()
        go_on.wait(20.0)
        with lock:
            running -= 1

    node = make_controller(
        FakePolicy(before_infer=before_infer), instruction='go', cameras=['image_primary'],
        **{'profile.step_s': 0.05}).start().node
    chunks = ros.collect(JointTrajectory, '/octo_controller/action_chunk')
    camera = make_camera('image_primary')
    ros.wait_until(started.is_set, 'an inference')
    node.trigger_deactivate()
    node.trigger_activate()
    sent = camera.sent
    ros.wait_until(lambda: camera.sent > sent + 10, 'more frames')
    assert not chunks
    go_on.set()
    ros.wait_until(lambda: len(chunks) > 2, 'chunks of the second activation')
    assert most == 1
    assert len(windows) > len(chunks)  # what the first activation had asked for went nowhere
