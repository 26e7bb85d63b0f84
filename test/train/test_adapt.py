import jax
import pytest

from octo_ros.errors import ParameterError
from octo_ros.policy.images import crop_for
from octo_ros.train.adapt import ModelParams
from octo_ros.train.finetune import plan_finetune
from test.train.conftest import run_params


@pytest.mark.parametrize('augment', [True, False])
def test_a_policy_crops_only_what_training_cropped(base, episodes, augment):
    plan = plan_finetune(base, episodes, ModelParams(), run_params(augment=augment))
    crop = crop_for(plan.model.config, 'image_primary')
    assert (crop is not None) == augment
    assert bool(plan.setup.augmentation) == augment


def test_a_camera_seen_in_detail_keeps_its_tokens_and_gets_one_per_8_pixels(base, episodes):
    plan = plan_finetune(base, episodes, ModelParams(detail=('primary',)), run_params())
    example = plan.model.example_batch
    outputs = jax.eval_shape(lambda: plan.model.module.apply(
        {'params': plan.model.params}, example['observation'], example['task'],
        example['observation']['timestep_pad_mask'], method='run_transformer'))
    assert outputs['obs_primary'].tokens.shape[2] == 4
    assert outputs['obs_primary_detail'].tokens.shape[2] == 16
    assert not plan.report.unexpected
    assert not plan.report.reshaped
    assert all('primary_detail' in path for path in plan.report.missing)


def test_a_camera_that_the_data_lack_is_not_seen_in_detail(base, episodes):
    with pytest.raises(ParameterError, match=r"'model.detail'.*'primry'.*'primary'"):
        plan_finetune(base, episodes, ModelParams(detail=('primry',)), run_params())
