import numpy as np
import pytest

from octo_ros.errors import TaskError
from octo_ros.sim import rollout
from octo_ros.sim import tasks
from octo_ros.sim.measure import wilson
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.rollout import Job
from octo_ros.sim.rollout import NoiseParams
from octo_ros.sim.tasks import Task

PUT = Task('put', 'red', 'plate')
FIELDS = ('stamps_ns', 'proprio', 'joints', 'actions', 'executed')


def idle(observation, state):
    return np.array([0, 0, 0, 0, 0, 0, 1.0])


@pytest.mark.parametrize('task', tasks.all_tasks(), ids=lambda task: task.name)
def test_the_expert_does_every_task(sim, task):
    for job in rollout.jobs([task], range(1000, 1004)):
        episode = rollout.run_episode(sim, job, rollout.expert_actor(task), cameras=())
        assert episode.success, job
        assert episode.chosen == task.colour
        assert len(episode) <= rollout.MAX_STEPS


def test_an_episode_is_the_same_every_time(drawing_sim):
    first, second = (
        rollout.run_episode(drawing_sim, Job(PUT, 3), rollout.expert_actor(PUT),
                            noise=NoiseParams()) for _ in range(2))
    for field in FIELDS:
        assert np.array_equal(getattr(first, field), getattr(second, field)), field
    for camera in ('primary', 'wrist'):
        assert np.array_equal(first.images[camera], second.images[camera])
    assert first.instruction == second.instruction


def test_rows_of_an_episode_belong_together(drawing_sim):
    episode = rollout.run_episode(drawing_sim, Job(PUT, 3), rollout.expert_actor(PUT))
    steps = len(episode)
    assert episode.images['primary'].shape == (steps, 256, 256, 3)
    assert episode.images['wrist'].shape == (steps, 128, 128, 3)
    assert np.array_equal(episode.stamps_ns, np.arange(steps) * 200_000_000)
    # What is seen next follows from what was done: the servo lags by millimetres.
    moved = np.diff(episode.proprio[:, :3], axis=0)
    assert np.abs(moved - episode.executed[:-1, :3]).max() < 0.012
    assert np.array_equal(episode.actions, episode.executed)
    assert episode.instruction in PUT.instructions()


def test_noise_moves_the_arm_but_not_the_recorded_action(sim):
    noise = NoiseParams(burst_rate=0.3)
    task = Task('lift', 'blue')
    episode = rollout.run_episode(sim, Job(task, 4), rollout.expert_actor(task), cameras=(),
                                  noise=noise, max_steps=60)
    difference = np.abs(episode.executed - episode.actions)
    assert episode.success
    assert difference[:, :3].max() > 0.01
    assert difference[:, 6].max() == 0.0
    assert np.abs(episode.actions[:, 3:6]).max() > 0.01  # the expert turns the gripper back


def test_on_a_detour_the_arm_goes_elsewhere_and_the_action_still_goes_to_the_block(sim):
    quiet = NoiseParams(burst_rate=0.0, jitter=0.0)
    task, against, clear = Task('lift', 'red'), 0, []
    for seed in range(12):
        job = Job(task, seed)
        block = np.array(sample_layout(seed).blocks['red'][:2])
        episode = rollout.run_episode(sim, job, rollout.expert_actor(task), cameras=(),
                                      noise=quiet, max_steps=60)
        assert episode.success
        strayed = np.abs(episode.executed - episode.actions)[:, :3].max(axis=1) > 1e-6
        away = block - episode.proprio[:, :2]
        far = np.linalg.norm(away, axis=1) > 0.05
        assert (np.sum(episode.actions[:, :2] * away, axis=1)[far & strayed] > 0.0).all()
        against += np.sum((np.sum(episode.executed[:, :2] * away, axis=1) < 0.0) & strayed)
        clear += [*episode.proprio[1:, 2][strayed[:-1]]]
        assert not strayed[np.argmin(strayed):].any(), 'detours come first'
    assert against > 12
    assert min(clear) > 0.07


def test_an_interrupted_scene_begins_where_another_task_led_whatever_is_told(sim):
    begins = set()
    for seed in range(1000, 1006):
        told = tasks.recoloured(Task('lift', 'red'), sample_layout(seed))
        episodes = [rollout.run_episode(sim, Job(task, seed), rollout.expert_actor(task),
                                        cameras=(), interrupted=1.0) for task in told]
        assert all(episode.success for episode in episodes)
        begins |= {tuple(episode.proprio[0]) for episode in episodes}
    assert len(begins) == 6
    usual = rollout.run_episode(sim, Job(PUT, 1000), idle, cameras=(), max_steps=1)
    assert tuple(usual.proprio[0]) not in begins


def test_a_held_block_is_put_down_before_the_arm_turns_to_another(sim):
    lift, reach = Task('lift', 'green'), Task('reach', 'red')
    sim.reset(1000)
    for task, steps in ((lift, 12), (reach, 20)):
        heights = []
        for _ in range(steps):
            before = sim.state()
            action = rollout.expert_actor(task)(None, before)
            sim.step(action)
            if task is reach and action[6] > 0.5 and before.opening < 0.04:
                heights.append(before.blocks['green'][2])
    assert reach.holds(sim.state())
    assert max(heights) < 0.035  # it was let go just above the table


def test_doing_nothing_does_not_succeed(sim):
    episode = rollout.run_episode(sim, Job(PUT, 0), idle, cameras=(), max_steps=10)
    assert not episode.success
    assert episode.chosen is None
    assert len(episode) == 10


def test_success_must_hold_for_two_steps_in_a_row(sim):
    task = Task('reach', 'red')
    sim.reset(0)
    away = sim.state()
    sim.arm.place(away.blocks['red'] + [0.0, 0.0, 0.04])
    sim.advance(0.02)
    there = sim.state()
    test = rollout.SuccessTest(task)
    assert [test.update(state) for state in (there, away, there, there)] == [
        False, False, False, True]


def test_goal_images_show_the_solved_scene_and_leave_the_simulation_as_it_was(drawing_sim):
    drawing_sim.reset(2)
    drawing_sim.step(np.array([0.02, 0.0, -0.02, 0, 0, 0, 1.0]))
    before = drawing_sim.observe()
    goal = rollout.solved_images(drawing_sim, PUT)
    after = drawing_sim.observe()
    assert np.array_equal(before.images['primary'], after.images['primary'])
    assert np.array_equal(before.joints, after.joints)
    assert before.stamp_ns == after.stamp_ns
    assert not np.array_equal(goal['primary'], before.images['primary'])
    episode = rollout.run_episode(drawing_sim, Job(PUT, 2), rollout.expert_actor(PUT))
    away = np.abs(goal['primary'].astype(int) - episode.images['primary'][-1]).mean()
    assert away < 3.0  # the last frame of a demonstration is nearly the goal image


def test_a_restored_simulation_goes_on_as_it_would_have(sim):
    sim.reset(1)
    push = np.array([0.02, 0.01, -0.03, 0, 0, 0, 1.0])
    sim.step(push)
    sim.arm.move_by(push)
    sim.advance(0.1)  # in the middle of a motion
    saved = sim.snapshot()
    sim.advance(0.3)
    expected = sim.observe(cameras=())
    sim.reset(9)
    sim.restore(saved)
    sim.advance(0.3)
    assert np.array_equal(sim.observe(cameras=()).joints, expected.joints)


def test_processes_give_the_same_episodes_in_order():
    pytest.importorskip('mujoco', reason="the extra 'sim' is not installed")
    todo = rollout.jobs([Task('reach', 'red'), Task('lift', 'green')], range(2))
    here = list(rollout.run_many(todo, cameras=()))
    there = list(rollout.run_many(todo, cameras=(), processes=2))
    assert [(episode.task, episode.seed) for episode in there] == [
        (job.task, job.seed) for job in todo]
    for one, two in zip(here, there, strict=True):
        assert np.array_equal(one.proprio, two.proprio)


def test_seeds_spread_over_all_tasks():
    chosen = [rollout.task_for_seed(seed, sample_layout(seed)) for seed in range(300)]
    kinds = [task.kind for task in chosen]
    assert all(50 < kinds.count(kind) < 100 for kind in tasks.KINDS)
    assert {task.name for task in chosen} == {task.name for task in tasks.all_tasks()}
    with pytest.raises(TaskError, match='none of 2'):
        rollout.task_for_seed(0, sample_layout(0), impossible(sample_layout(0)))


def impossible(layout):
    return [task for task in tasks.all_tasks() if not tasks.possible(task, layout)][:2]


def test_wilson_interval_of_95_in_100():
    low, high = wilson(95, 100)
    assert (round(low, 3), round(high, 3)) == (0.888, 0.978)
