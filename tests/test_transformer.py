from dataclasses import replace

import pytest
import torch

from dfplan.backbones.transformer import Transformer, rotate, sinusoidal_embedding, time_rotation


def inputs(config, batch=2, num_tokens=4):
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(batch, 2 + num_tokens, config.token_dim, generator=generator)
    return noisy, torch.randint(config.num_levels + 1, noisy.shape[:2], generator=generator)


def test_a_sequence_may_be_shorter_than_the_longest(tiny_config):
    backbone = Transformer(tiny_config)
    noisy, levels = inputs(tiny_config, num_tokens=1)
    assert backbone(noisy, levels).shape == noisy.shape


def test_a_causal_backbone_sees_no_future_token(tiny_config):
    noisy, levels = inputs(tiny_config)
    changed = noisy.clone()
    changed[:, -1] += 1
    for causal in (True, False):
        backbone = Transformer(replace(tiny_config, causal=causal)).eval()
        same = torch.equal(backbone(noisy, levels)[:, :-1], backbone(changed, levels)[:, :-1])
        assert same == causal


def test_the_level_of_a_token_matters(tiny_config):
    backbone = Transformer(tiny_config).eval()
    noisy, levels = inputs(tiny_config)
    assert not torch.allclose(backbone(noisy, levels), backbone(noisy, levels.flip(0)))


def test_level_embeddings_begin_with_the_sine_of_the_level_itself():
    embedding = sinusoidal_embedding(torch.tensor([0, 1, 2]), 4)
    assert embedding.shape == (3, 4)
    assert embedding[1, 0] == pytest.approx(0.84147, abs=1e-4) and embedding[0, 2] == 1


def test_the_product_of_rotated_queries_and_keys_depends_on_their_distance_in_time_only():
    torch.manual_seed(0)
    query, key = torch.randn(8).expand(6, 8), torch.randn(8).expand(6, 8)
    rotation = time_rotation(6, 8, torch.device("cpu"))
    products = rotate(query, rotation) @ rotate(key, rotation).T  # (time of query, time of key)
    torch.testing.assert_close(products[1:, 1:], products[:-1, :-1])
    assert not torch.allclose(products[0, 0], products[0, 1])
