"""RLDS data sets of Bridge form, written with the protobuf library and framed by hand."""

import json
import zlib

import cv2
import numpy as np
import pytest

from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.rlds_layout import rlds_folder
from octo_ros.data.rlds_reader import RldsSource
from octo_ros.errors import DataError
from test.data import tfrecord_files

STEPS = 6


def pictures(seed, *, code='.png', size=(12, 16), count=STEPS):
    """Returns frames, and the same as encoded pictures."""
    frames = np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)
    return frames, [cv2.imencode(code, frame[..., ::-1])[1].tobytes() for frame in frames]


def bridge_episode(seed, **changes):
    """Returns the features of an episode as RAIL's release of Bridge has them."""
    rng = np.random.default_rng(100 + seed)
    features = {
        'steps/action': rng.normal(size=(STEPS, 7)).astype(np.float32),
        'steps/observation/state': rng.normal(size=(STEPS, 7)).astype(np.float32),
        'steps/observation/image_0': pictures(seed)[1],
        'steps/observation/image_1': pictures(seed + 50)[1],
        'steps/language_instruction': [b'lift the pot'] * STEPS,
        'steps/is_first': np.arange(STEPS) == 0, 'steps/is_last': np.arange(STEPS) == STEPS - 1,
        'steps/language_embedding': np.zeros((STEPS, 512), np.float32),
        'episode_metadata/file_path': [b'/robot/out.npy'],
        'episode_metadata/episode_id': np.array([seed]),
        'episode_metadata/has_image_0': np.array([1])}
    return {name: value for name, value in (features | changes).items() if value is not None}


def tree(kinds):
    """Returns what features.json says of some paths."""
    root = {'featuresDict': {'features': {}}}
    for path, leaf in kinds.items():
        node = root
        *folders, name = path.split('/')
        for folder in folders:
            node = node['featuresDict']['features'].setdefault(
                folder, {'featuresDict': {'features': {}}})
            if folder == 'steps':
                node = node.setdefault('sequence', {'feature': {'featuresDict': {'features': {}}}})
                node = node['feature']
        node['featuresDict']['features'][name] = leaf
    return root


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'bridge_dataset/1.0.0'


def write(folder, episodes, *, split='train', shards=1, kinds=None):
    """Writes a data set; returns its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = np.array_split(np.arange(len(episodes)), shards)
    files = []
    for number, part in enumerate(parts):
        files.append(folder / f'bridge_dataset-{split}.tfrecord-{number:05d}-of-{shards:05d}')
        tfrecord_files.write_records(
            files[-1], [tfrecord_files.example(episodes[index]) for index in part])
    (folder / 'dataset_info.json').write_text(json.dumps({
        'name': 'bridge_dataset', 'fileFormat': 'tfrecord', 'splits': [
            {'name': split, 'shardLengths': [str(len(part)) for part in parts]}]}))
    image = {'image': {'shape': {}, 'dtype': 'uint8', 'encodingFormat': 'png'}}
    told = {name: image if 'image_' in name else {'text': {}}
            for name in episodes[0] if 'has_' not in name} if episodes else {}
    (folder / 'features.json').write_text(json.dumps(tree(told | (kinds or {}))))
    return files


def read(folder, **spec):
    return list(RldsSource(rlds_folder(folder), ImportSpec(**spec)))


def test_bridge_episodes_come_back(folder):
    episodes = [bridge_episode(seed) for seed in range(3)]
    write(folder, episodes, shards=2)
    source = RldsSource(rlds_folder(folder.parent), ImportSpec())
    assert source.total == 3
    found = list(source)
    assert [item.findings for item in found] == [()] * 3
    for seed, (item, wanted) in enumerate(zip(found, episodes, strict=True)):
        episode = item.episode
        episode.check()
        np.testing.assert_array_equal(episode.actions, wanted['steps/action'])
        np.testing.assert_array_equal(episode.proprio, wanted['steps/observation/state'])
        np.testing.assert_array_equal(episode.images['image_primary'], pictures(seed)[0])
        assert episode.instructions == ('lift the pot',)
        assert episode.metadata['file_path'] == '/robot/out.npy'
        assert episode.metadata['episode_id'] == seed
        assert episode.step_s == 0.2


def test_the_form_of_open_x_embodiment_is_known(folder):
    rng = np.random.default_rng(0)
    vector, rotation = rng.normal(size=(2, STEPS, 3)).astype(np.float32)
    gripper = np.arange(STEPS) % 2
    write(folder, [bridge_episode(0, **{
        'steps/action': None, 'steps/language_instruction': None,
        'steps/observation/image_0': None, 'steps/observation/image_1': None,
        'steps/action/world_vector': vector, 'steps/action/rotation_delta': rotation,
        'steps/action/open_gripper': gripper, 'steps/observation/image': pictures(7)[1],
        'steps/observation/natural_language_instruction': [b'open'] * STEPS})],
        kinds={'steps/observation/image': {'image': {}}})
    (found,) = read(folder)
    np.testing.assert_array_equal(
        found.episode.actions, np.concatenate([vector, rotation, gripper[:, None]], axis=1))
    np.testing.assert_array_equal(found.episode.images['image_primary'], pictures(7)[0])
    assert found.episode.instructions == ('open',)


def test_a_file_without_descriptions_is_read(tmp_path):
    file = tmp_path / 'some-train.tfrecord'
    tfrecord_files.write_records(file, [tfrecord_files.example(bridge_episode(1))])
    (found,) = read(file, cameras={'image_wrist': 'image_1'}, image_sizes={'image_wrist': (8, 8)})
    assert found.episode.images['image_wrist'].shape == (STEPS, 8, 8, 3)
    assert set(found.episode.images) == {'image_wrist'}


def test_a_sequence_example_is_read(tmp_path):
    features = bridge_episode(1)
    lists = {name: ([[item] for item in values] if isinstance(values, list) else list(values))
             for name, values in features.items() if name.startswith('steps/')}
    lists = {name: [np.atleast_1d(item) if not isinstance(item, list) else item
                    for item in values] for name, values in lists.items()}
    file = tmp_path / 'a-train.tfrecord'
    tfrecord_files.write_records(file, [tfrecord_files.sequence_example({}, lists)])
    (found,) = read(file)
    np.testing.assert_array_equal(found.episode.actions, features['steps/action'])


def test_reached_actions_are_those_of_octo(folder):
    gripper = np.array([1.0, 0.6, 0.0, 0.3, 0.99, 0.5])
    actions = np.zeros((STEPS, 7), np.float32)
    actions[:, 6] = gripper
    state = np.cumsum(np.ones((STEPS, 7)), axis=0).astype(np.float32) ** 2
    write(folder, [bridge_episode(0, **{'steps/action': actions,
                                        'steps/observation/state': state})])
    (found,) = read(folder, reached=True)
    assert len(found.episode) == STEPS - 1
    np.testing.assert_array_equal(found.episode.actions[:, 0], np.diff(state[:, 0]))
    assert found.episode.actions[:, 6].tolist() == [1, 0, 0, 1, 1]


def test_reached_rotations_go_the_short_way_where_an_angle_passes_pi(folder):
    state = np.zeros((STEPS, 7), np.float32)
    state[:, 4] = (3.1 + 0.02 * np.arange(STEPS) + np.pi) % (2 * np.pi) - np.pi
    write(folder, [bridge_episode(0, **{'steps/observation/state': state})])
    (found,) = read(folder, reached=True)
    np.testing.assert_allclose(found.episode.actions[:, 4], 0.02, atol=1e-5)


def test_tensors_may_be_packed(folder):
    actions = np.random.default_rng(0).normal(size=(STEPS, 7))
    write(folder, [bridge_episode(0, **{
        'steps/action': [zlib.compress(row.tobytes()) for row in actions]})],
        kinds={'steps/action': {'tensor': {'dtype': 'float64', 'encoding': 'zlib'}}})
    (found,) = read(folder)
    np.testing.assert_allclose(found.episode.actions, actions, rtol=1e-6)


def test_an_episode_without_the_camera_or_words_says_so(folder):
    black = pictures(0)[0] * 0
    encoded = [cv2.imencode('.png', frame)[1].tobytes() for frame in black]
    write(folder, [
        bridge_episode(0, **{'episode_metadata/has_image_0': np.array([0])}),
        bridge_episode(1, **{'episode_metadata/has_image_0': np.array([0]),
                             'steps/observation/image_0': encoded}),
        bridge_episode(2, **{'steps/language_instruction': [b''] * STEPS})])
    there, dummy, silent = read(folder)
    assert there.findings == ()
    assert dummy.episode is None
    assert [item.kind for item in dummy.findings] == ['missing']
    assert silent.episode.instructions == ()
    assert [item.kind for item in silent.findings] == ['instruction']


def test_damage_is_told_by_file_record_and_offset_and_the_rest_is_kept(folder):
    (file,) = write(folder, [bridge_episode(seed) for seed in range(3)])
    raw = bytearray(file.read_bytes())
    second = 16 + len(tfrecord_files.example(bridge_episode(0)))
    raw[second + 100] ^= 1
    file.write_bytes(raw[:-9])
    found = read(folder)
    assert [item.episode is not None for item in found] == [True, False, False]
    texts = [item.findings[0].text for item in found[1:]]
    assert f'record 1 at byte {second} has a wrong checksum' in texts[0]
    assert 'record 2 at byte' in texts[1]
    assert 'is cut off' in texts[1]
    assert found[1].findings[0].source == str(file)


def test_a_record_that_is_no_example_is_left_out(folder):
    (file,) = write(folder, [bridge_episode(0)])
    file.write_bytes(tfrecord_files.frame(b'\x0b') + file.read_bytes())
    damaged, whole, count = read(folder)
    assert 'record 0 at byte 0 is no tf.train.Example' in damaged.findings[0].text
    assert whole.episode is not None
    assert 'dataset_info.json says 1' in count.findings[0].text


def test_an_odd_episode_among_others_is_left_out(folder):
    write(folder, [bridge_episode(0), bridge_episode(1, **{'steps/action': np.zeros(5)})])
    whole, odd = read(folder)
    assert whole.episode is not None
    assert 'record 1 at byte' in odd.findings[0].text
    assert 'as many numbers' in odd.findings[0].text


@pytest.mark.parametrize(('changes', 'message'), [
    ({'steps/is_first': np.zeros(0, bool), 'steps/action': np.zeros((0, 7), np.float32),
      'steps/observation/image_0': [], 'steps/observation/image_1': []}, 'the 0 steps'),
    ({'steps/observation/image_0': pictures(0, count=5)[1]}, 'of the 6 steps, got 5'),
    ({'steps/observation/image_0': None}, "'image_0'"),
    ({'steps/observation/state': np.full((STEPS, 7), np.nan, np.float32)}, 'finite states')])
@pytest.mark.parametrize('place', [0, 1])
def test_an_odd_episode_costs_itself_only_in_first_place_too(folder, changes, message, place):
    episodes = [bridge_episode(1), bridge_episode(2)]
    episodes.insert(place, bridge_episode(0, **changes))
    write(folder, episodes, kinds={'steps/observation/image_0': {'image': {}}})
    found = read(folder, cameras={'image_primary': 'image_0'})
    assert [item.episode is None for item in found] == [number == place for number in range(3)]
    (finding,) = found[place].findings
    assert f'record {place} at byte' in finding.text
    assert message in finding.text


def test_where_no_episode_fits_the_first_error_is_told(folder):
    write(folder, [bridge_episode(0, **{'steps/action': np.zeros(5)}),
                   bridge_episode(1, **{'steps/observation/image_0': pictures(1, count=4)[1]})])
    with pytest.raises(DataError, match=r'#0.*as many numbers'):
        read(folder)


def test_an_option_that_fits_no_episode_is_told_before_all_are_read(folder):
    bad = {'steps/action': np.zeros(5)}
    write(folder, [*(bridge_episode(seed, **bad) for seed in range(9)), bridge_episode(9)])
    with pytest.raises(DataError, match=r'#0.*as many numbers'):
        read(folder)


def test_a_missing_shard_is_named(folder):
    write(folder, [bridge_episode(seed) for seed in range(3)], shards=3)[1].unlink()
    found = read(folder)
    assert found[0].findings[0].source == 'bridge_dataset-train.tfrecord-00001-of-00003'
    assert sum(item.episode is not None for item in found) == 2


def test_pictures_and_numbers_that_are_damaged_are_told_with_their_time(folder):
    frames, encoded = pictures(0)
    encoded[2] = encoded[2][:30]
    actions = np.zeros((STEPS, 7), np.float32)
    actions[5, 1] = np.nan
    write(folder, [bridge_episode(0, **{'steps/observation/image_0': encoded,
                                        'steps/action': actions})])
    (found,) = read(folder)
    assert [(item.kind, item.topic, item.time_s) for item in found.findings] == [
        ('nan', 'steps/action', 1.0), ('image', 'steps/observation/image_0', 0.4)]
    assert len(found.episode) == 5
    assert found.episode.present['image_primary'].tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(found.episode.images['image_primary'][3], frames[3])


@pytest.mark.parametrize(('changes', 'spec', 'message'), [
    ({}, {'action': 'actoin'}, r"did you mean 'action'"),
    ({}, {'state': 'stat'}, r"did you mean 'state'"),
    ({}, {'cameras': {'image_primary': 'image_9'}}, r"did you mean 'image_[01]'"),
    ({}, {'instruction': 'language_instructio'}, r"did you mean 'language_instruction'"),
    ({}, {'split': 'trian'}, r"did you mean 'train'"),
    ({}, {'action_names': ('x', 'y')}, r'must have the 2 numbers of the robot profile \(x, y\)'),
    ({'steps/action': np.zeros(STEPS * 7 + 1)}, {}, 'as many numbers for each of the 6 steps'),
    ({'steps/observation/state': None}, {'reached': True}, 'must have a state'),
    ({'steps/observation/image_0': pictures(0, count=4)[1]}, {}, 'a picture for each of the 6'),
    ({'steps/observation/image_0': None, 'steps/observation/image_1': None}, {},
     'at least one camera')])
def test_what_does_not_fit_is_refused(folder, changes, spec, message):
    write(folder, [bridge_episode(0, **changes)])
    with pytest.raises(DataError, match=message):
        read(folder, **spec)


def test_other_folders_are_not_taken_for_rlds(tmp_path):
    assert rlds_folder(tmp_path) is None
    assert rlds_folder(tmp_path / 'nowhere') is None


def test_damaged_descriptions_are_named(folder):
    write(folder, [bridge_episode(0)])
    (folder / 'features.json').write_text('{')
    with pytest.raises(DataError, match=r'features\.json must be JSON'):
        read(folder)
