"""A checkpoint as a policy: tasks change without compiling, seeds repeat, bad input is named."""

import gc
import itertools
import logging
import pathlib
import weakref

import jax
import numpy as np
import pytest

from octo_ros import assets
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window

KEYS = ('image_primary', 'image_wrist')
TEXT = 'put the red block into the bowl'
GOAL = np.full((40, 60, 3), 90, np.uint8)


@pytest.fixture(scope='module')
def policy() -> OctoPolicy:
    """The shipped checkpoint, prepared for both of its cameras."""
    made = OctoPolicy.load(PolicyParams(
        checkpoint=str(assets.shipped_checkpoint()), compilation_cache='none'))
    made.prepare(KEYS, window=made.spec.window)
    return made


def make_window(policy: OctoPolicy, value: int = 100) -> Window:
    images = {key: np.full((*policy.spec.image_sizes[key], 3), value, np.uint8) for key in KEYS}
    return Window((Frame(0, images), Frame(1, images)), np.array([False, True]))


def goals(policy: OctoPolicy, *keys: str, image: np.ndarray = GOAL) -> dict[str, np.ndarray]:
    return {key: policy.preprocess(key, image) for key in keys}


def run(policy: OctoPolicy, task: Task, count: int = 1) -> np.ndarray:
    encoded = policy.encode_task(task)
    return np.stack([policy.infer(make_window(policy), encoded).actions for _ in range(count)])


def test_one_seed_gives_one_stream_of_chunks(
    policy: OctoPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger='octo_ros.policy'):
        policy.reset(11)
    assert 'seed 11' in caplog.text
    first = run(policy, Task(TEXT), 3)
    policy.reset(11)
    np.testing.assert_array_equal(run(policy, Task(TEXT), 3), first)
    policy.reset(12)
    assert not np.allclose(run(policy, Task(TEXT), 3), first)
    assert not np.allclose(first[0], first[1])
    assert first.shape == (3, policy.spec.action_horizon, policy.spec.action_dim)


def test_a_new_task_compiles_nothing(policy: OctoPolicy) -> None:
    before = policy.compilations
    compiled = []

    def listen(event: str, duration: float, **details: object) -> None:
        if 'backend_compile' in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        tasks = [Task('lift the cup'), Task(goals=goals(policy, KEYS[1])),
                 Task(TEXT, goals(policy, KEYS[0])), Task(TEXT, goals(policy, *KEYS))]
        chunks = []
        for task in tasks:
            policy.reset(0)
            chunks.append(run(policy, task)[0])
        listening = list(compiled)
        jax.jit(lambda x: x * 3.5 + 1)(np.float32(2))  # the listener does hear of compilations
    finally:
        jax.monitoring.clear_event_listeners()
    assert listening == []
    assert len(compiled) > 0
    assert policy.compilations == before
    assert all(not np.allclose(a, b) for a, b in itertools.pairwise(chunks))


def test_a_task_is_encoded_once(policy: OctoPolicy) -> None:
    task = Task(TEXT, goals(policy, KEYS[0]))
    encoded = policy.encode_task(task)
    assert policy.encode_task(task) is encoded
    assert policy.encode_task(Task(TEXT, goals(policy, KEYS[0]))) is encoded
    assert policy.encode_task(Task(TEXT, goals(policy, KEYS[0], image=GOAL + 1))) is not encoded


def test_a_goal_is_resized_before_it_makes_a_task_and_not_by_encoding_it(
        policy: OctoPolicy) -> None:
    photograph = np.zeros((300, 400, 3), np.uint8)
    wrong = r"'image_primary' must be .* size \(128, 128\), got \(300, 400\)"
    with pytest.raises(TaskError, match=wrong):
        policy.check_task(Task(TEXT, {'image_primary': photograph}))
    with pytest.raises(TaskError, match=r"got 'image_wirst' .did you mean 'image_wrist'"):
        policy.preprocess('image_wirst', photograph)


def test_what_a_task_lacks_is_told_in_one_message(policy: OctoPolicy) -> None:
    assert policy.check_task(Task(TEXT)) == [
        'No goal image for image_primary, image_wrist: zero pixels take its place.']
    assert policy.check_task(Task(TEXT, goals(policy, *KEYS))) == []
    assert policy.check_task(Task(goals=goals(policy, *KEYS))) == [
        'No instruction: the language input is masked.']


@pytest.mark.parametrize(
    ('task', 'problem'),
    [
        (Task(' \n'), 'must hold words'),
        (Task(TEXT, {'image_wirst': GOAL}), "did you mean 'image_wrist'"),
        (Task(TEXT, {'image_wrist': GOAL[..., :1]}), "goal for 'image_wrist' cannot be used"),
    ],
)
def test_a_task_that_cannot_be_used_is_refused(
    policy: OctoPolicy, task: Task, problem: str
) -> None:
    for use in (policy.check_task, policy.encode_task):
        with pytest.raises(TaskError, match=problem):
            use(task)


def test_a_very_long_instruction_is_cut_with_one_warning(
    policy: OctoPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task('pick up the red block and ' * 400)
    policy.check_task(task)
    assert np.isfinite(run(policy, task)).all()
    assert sum('was trained with' in record.message for record in caplog.records) == 1


def test_images_are_resized_and_the_primary_camera_is_cropped(policy: OctoPolicy) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, :15] = 255
    primary = policy.preprocess('image_primary', image)
    wrist = policy.preprocess('image_wrist', image)
    assert primary.shape[:2] == policy.spec.image_sizes['image_primary']
    assert wrist.shape[:2] == policy.spec.image_sizes['image_wrist']
    assert wrist.max() > 240
    assert primary.max() < 30  # the border is cut off


def test_crops_and_sizes_can_be_overridden(policy: OctoPolicy) -> None:
    params = PolicyParams(image_crops=('image_primary=1', 'image_wrist=0.5'))
    assert OctoPolicy(policy.model, params).crops == {
        'image_primary': None, 'image_wrist': (0.5, 0.5)}
    for entry in ('image_primary', 'image_primary=2', 'image=0.5'):
        with pytest.raises(ParameterError, match='KEY=SIDE'):
            OctoPolicy(policy.model, PolicyParams(image_crops=(entry,)))
    larger = OctoPolicy(policy.model, PolicyParams(image_sizes=('image_wrist=96x96',)))
    with pytest.raises(ParameterError, match='leave image_sizes as the checkpoint has'):
        larger.prepare(['image_wrist'], window=1)


@pytest.mark.parametrize(
    ('keys', 'options', 'problem'),
    [
        (('image_wirst',), {}, "did you mean 'image_wrist'"),
        ((), {}, 'At least one camera'),
        (KEYS, {'window': 11}, "'window' must be 1 to 10"),
        (KEYS, {'proprio': True}, 'this checkpoint takes none'),
    ],
)
def test_cameras_that_do_not_fit_are_refused(
    policy: OctoPolicy, keys: tuple[str, ...], options: dict, problem: str
) -> None:
    with pytest.raises(ParameterError, match=problem):
        policy.prepare(keys, **{'window': 2, **options})


def test_a_window_that_was_not_prepared_is_refused(policy: OctoPolicy) -> None:
    window = make_window(policy)
    single = Window(window.frames[:1], np.array([True]))
    with pytest.raises(ParameterError, match='must be prepared for the window'):
        policy.infer(single, policy.encode_task(Task(TEXT)))
    with pytest.raises(ParameterError, match='must be prepared'):
        OctoPolicy(policy.model).infer(window, {})


def test_a_checkpoint_must_be_named() -> None:
    with pytest.raises(ParameterError, match="'checkpoint' must name a checkpoint"):
        OctoPolicy.load(PolicyParams())


def test_a_policy_that_is_dropped_leaves_the_device(golden: pathlib.Path) -> None:
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=str(golden / 'tiny_three_cam_mse/ckpt'), compilation_cache='none',
        statistics_key='bridge_dataset'))
    policy.prepare(tuple(policy.spec.image_sizes), window=1)
    frame = Frame(0, {})
    policy.infer(Window((frame,), np.array([True])), policy.encode_task(Task()))
    kept = [weakref.ref(leaf) for leaf in jax.tree.leaves(policy.model.params)]
    assert len(kept) > 20
    del policy
    gc.collect()
    assert [leaf for leaf in kept if leaf() is not None] == []


@pytest.fixture(scope='module')
def proprio_policy(golden: pathlib.Path) -> OctoPolicy:
    """A policy that takes proprio, without a language model to run."""
    made = OctoPolicy.load(PolicyParams(
        checkpoint=str(golden / 'tiny_proprio_l1/ckpt'), statistics_key='bridge_dataset',
        compilation_cache='none'))
    made.prepare(['image_primary'], window=1, proprio=True)
    return made


def test_proprio_is_normalised_by_the_statistics(proprio_policy: OctoPolicy) -> None:
    statistics = proprio_policy.model.dataset_statistics['bridge_dataset']['proprio']
    mean, std = (np.asarray(statistics[name]) for name in ('mean', 'std'))
    task = proprio_policy.encode_task(Task())

    def infer(vector):
        frame = Frame(0, {}, vector)
        return proprio_policy.infer(Window((frame,), np.array([True])), task).actions

    engine = proprio_policy._engine
    variant = proprio_policy._variant
    observations = engine.observations([{}], variant, {'proprio': np.full((1, 8), 0.3)})
    expected = engine.infer(variant, observations, task, np.array([True]))
    np.testing.assert_allclose(infer(mean + 0.3 * std), expected, atol=1e-5)
    assert not np.allclose(infer(mean - std), expected)


@pytest.mark.parametrize(
    ('vector', 'problem'),
    [
        (None, 'must carry a proprio vector'),
        (np.zeros(7), 'must have 8 numbers, got 7'),
        (np.full(8, np.nan), 'must be finite'),
    ],
)
def test_a_proprio_vector_that_cannot_be_used_is_refused(
    proprio_policy: OctoPolicy, vector: np.ndarray | None, problem: str
) -> None:
    window = Window((Frame(0, {}, vector),), np.array([True]))
    with pytest.raises(ObservationError, match=problem):
        proprio_policy.infer(window, proprio_policy.encode_task(Task()))


def test_text_is_refused_by_a_checkpoint_without_language(golden: pathlib.Path) -> None:
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=str(golden / 'tiny_three_cam_mse/ckpt'), compilation_cache='none',
        statistics_key='bridge_dataset'))
    with pytest.raises(TaskError, match='takes no instruction'):
        policy.check_task(Task(TEXT))
    with pytest.raises(ParameterError, match="did you mean 'image_primary'"):
        policy.prepare(['image_primry'], window=2)


def test_images_that_are_stacked_must_be_mapped_together(golden: pathlib.Path) -> None:
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=str(golden / 'tiny_film/ckpt'), compilation_cache='none'))
    first, second = policy.spec.image_sizes
    with pytest.raises(ParameterError, match=f"'{first}' must be mapped together with {second}"):
        policy.prepare([first], window=1)
