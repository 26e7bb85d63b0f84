"""Activation and deactivation around inferences that take their time."""

import threading

from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
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


def test_a_reset_during_an_inference_gives_the_next_one_the_first_random_numbers(
        ros, make_controller, make_camera) -> None:
    started, go_on, seen = threading.Event(), threading.Event(), []

    def before_infer(window) -> None:
        seen.append((policy._seed, policy.inferences))
        started.set()
        go_on.wait(20.0)

    policy = FakePolicy(before_infer=before_infer)
    node = make_controller(policy, instruction='go', cameras=['image_primary'],
                           **{'profile.step_s': 0.05}).start().node
    camera = make_camera('image_primary')
    ros.wait_until(started.is_set, 'an inference')
    node.set_parameters([Parameter('policy.seed', value=7)])
    assert ros.call(Trigger, '/octo_controller/reset').success
    sent = camera.sent
    ros.wait_until(lambda: camera.sent > sent + 10, 'more frames')
    go_on.set()
    ros.wait_until(lambda: len(seen) > 3, 'further inferences')
    assert seen[:4] == [(0, 0), (7, 0), (7, 1), (7, 2)]
