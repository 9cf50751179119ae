from dataclasses import replace

import pytest
import torch

from dfplan.config import ModelConfig
from dfplan.model.backbones.rnn import CausalRNN
from dfplan.model.diffusion_forcing import DiffusionForcing


@pytest.fixture
def rnn_config(tiny_config):
    return replace(tiny_config, backbone="rnn", causal=True, depth=4)


@pytest.fixture
def backbone(rnn_config):
    torch.manual_seed(0)
    return CausalRNN(rnn_config).eval().requires_grad_(False)


def inputs(config, batch=3, num_tokens=6):
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(batch, 2 + num_tokens, config.token_dim, generator=generator)
    return noisy, torch.randint(config.num_levels + 1, noisy.shape[:2], generator=generator)


def test_the_configured_depth_is_halved_between_encoder_latent_and_head(rnn_config):
    for depth, blocks in ((1, 1), (4, 2), (5, 2)):
        backbone = CausalRNN(replace(rnn_config, depth=depth))
        assert (len(backbone.encoder), backbone.latent.num_layers, len(backbone.head)) == (blocks,) * 3


@pytest.mark.parametrize("sizes", [[1] * 8, [3, 5], [1, 2, 5], [7, 1]])
def test_predictions_in_chunks_with_a_memory_equal_the_prediction_of_the_whole(backbone, sizes):
    noisy, levels = inputs(backbone.config)
    whole, _ = backbone(noisy, levels)
    memory, chunks = None, []
    for noisy_chunk, levels_chunk in zip(noisy.split(sizes, dim=1), levels.split(sizes, dim=1), strict=True):
        x0, memory = backbone(noisy_chunk, levels_chunk, memory, keep=noisy_chunk.shape[1])
        chunks.append(x0)
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, rtol=0, atol=1e-5)
    assert memory.time == 8 and [part.shape for part in memory.state] == [(3, 2, 16)]  # (batch, layer, width)


def test_the_memory_contains_only_the_tokens_to_keep(backbone):
    noisy, levels = inputs(backbone.config)
    whole, memory = backbone(noisy, levels, keep=2)
    assert memory.time == 2
    torch.testing.assert_close(whole, backbone(noisy, levels)[0], rtol=0, atol=1e-5)
    later, same = backbone(noisy[:, 2:], levels[:, 2:], memory)
    assert same is memory
    torch.testing.assert_close(later, whole[:, 2:], rtol=0, atol=1e-5)


def test_a_prediction_does_not_depend_on_later_tokens_but_on_all_earlier_ones(backbone):
    noisy, levels = inputs(backbone.config)
    for changed_at in (0, 4):
        changed = noisy.clone()
        changed[:, changed_at] += 1
        same = (backbone(noisy, levels)[0] == backbone(changed, levels)[0]).all(dim=2).all(dim=0)
        assert same.tolist() == [time < changed_at for time in range(8)]


def test_the_level_of_a_token_matters(backbone):
    noisy, levels = inputs(backbone.config)
    assert not torch.allclose(backbone(noisy, levels)[0], backbone(noisy, levels.flip(0))[0])


def test_goal_start_and_planned_tokens_have_different_roles(backbone):
    noisy, levels = torch.zeros(1, 4, backbone.config.token_dim), torch.zeros(1, 4, dtype=torch.long)
    embedded = backbone.embed(noisy, levels, seen=0)[0]
    assert not torch.allclose(embedded[0], embedded[1]) and not torch.allclose(embedded[1], embedded[2])
    assert torch.equal(embedded[2], embedded[3])


def test_an_rnn_that_is_not_causal_is_refused_by_an_error_that_names_both_settings():
    with pytest.raises(ValueError, match=r"backbone='rnn'.*causal=True"):
        ModelConfig(backbone="rnn")


def test_the_rnn_does_not_pad_small_batches(rnn_config):
    model = DiffusionForcing(rnn_config).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].shape[0]))
    model.predict_x0(*inputs(rnn_config, batch=1, num_tokens=1))
    assert seen == [1]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_loss_falls_when_the_rnn_is_trained_on_one_window(rnn_config, precision):
    torch.manual_seed(0)
    model = DiffusionForcing(rnn_config)
    tokens, levels = inputs(rnn_config, num_tokens=4)
    tokens = tokens * model.codec.used_channels(4)
    noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = model.loss(tokens, levels, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
