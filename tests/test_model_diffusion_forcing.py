from dataclasses import replace

import pytest
import torch

from dfplan.config import ModelConfig
from dfplan.ground.errors import InputError
from dfplan.model.backbones import BACKBONES
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.loss import LOSS_WEIGHTS, weigh_by_snr, weigh_tokens, weighted_mse
from dfplan.model.tokens import GOAL


def test_clean_tokens_and_padding_do_not_count_in_the_loss():
    prediction, target = torch.ones(1, 2, 2), torch.zeros(1, 2, 2)
    prediction[0, 1] = torch.tensor([3.0, 100.0])
    used = torch.tensor([[True, True], [True, False]])
    assert weighted_mse(prediction, target, torch.tensor([[0.0, 1.0]]), used) == 9


def test_min_snr_weights_fall_with_the_noise_and_are_one_for_weak_noise():
    weights = weigh_by_snr(torch.tensor([1.0, 0.9, 0.5, 0.0]))
    assert weights.tolist() == pytest.approx([1, 1, 1 / 5, 0], abs=1e-6)


@pytest.mark.parametrize("loss_weight", LOSS_WEIGHTS)
def test_the_loss_falls_when_the_network_is_trained_on_one_window(tiny_model, loss_weight):
    tiny_model.train().requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(4, 6, tiny_model.config.token_dim, generator=generator) * tiny_model.codec.used_channels(4)
    levels = torch.randint(101, (4, 6), generator=generator)
    noise = torch.randn(tokens.shape, generator=generator)
    optimizer = torch.optim.Adam(tiny_model.parameters(), lr=1e-2)
    first = None
    for _ in range(60):
        loss = tiny_model.loss(tokens, levels, noise, loss_weight)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 2


@pytest.mark.parametrize("num_tokens", [1, 3, 20])
def test_the_prediction_of_a_sequence_is_bit_equal_alone_and_in_a_batch(num_tokens):
    torch.manual_seed(0)
    model = DiffusionForcing(ModelConfig(depth=1)).eval().requires_grad_(False)
    noisy = torch.randn(33, 2 + num_tokens, model.config.token_dim)
    levels = torch.randint(1001, (33, 2 + num_tokens))
    together = model.predict_x0(noisy, levels)
    for row in (0, 7, 32):
        assert torch.equal(model.predict_x0(noisy[row : row + 1], levels[row : row + 1])[0], together[row])


def test_every_backbone_is_built_by_its_name():
    for name, backbone in BACKBONES.items():
        model = DiffusionForcing(ModelConfig(backbone=name, causal=True, width=16, depth=1, num_heads=2))
        assert type(model.backbone) is backbone


def test_the_error_of_a_misspelt_backbone_names_the_similar_one():
    with pytest.raises(InputError, match="did you mean transformer"):
        DiffusionForcing(ModelConfig(backbone="transfomer"))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_prediction_does_not_depend_on_the_noise_of_a_masked_goal_but_on_a_known_goal(tiny_config, backbone):
    torch.manual_seed(0)
    config = replace(tiny_config, backbone=backbone, causal=True, fine_frequencies=2)
    model = DiffusionForcing(config).eval().requires_grad_(False)
    tokens, levels = torch.randn(2, 6, config.token_dim), torch.full((1, 6), 50)
    other = tokens.clone()
    other[:, GOAL] = torch.randn(2, config.token_dim)
    for level, same in ((config.num_levels, True), (0, False)):
        levels[:, GOAL] = level
        assert torch.equal(model.predict_x0(tokens, levels), model.predict_x0(other, levels)) == same


def test_the_loss_of_the_next_token_is_multiplied_by_its_weight_which_falls_to_one(tiny_model):
    assert weigh_tokens(3, 4.0).tolist() == pytest.approx([1, 1, 4, 2, 4 / 3])
    tokens = torch.zeros(1, 6, tiny_model.config.token_dim)
    levels = torch.tensor([[0, 0, 50, 0, 0, 0]])  # only the first planned token is noisy
    noise = torch.ones_like(tokens)
    plain, weighted = (tiny_model.loss(tokens, levels, noise, next_token_weight=weight) for weight in (1.0, 4.0))
    assert weighted.item() == pytest.approx(4 * plain.item())
