import pytest

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
