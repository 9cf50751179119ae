from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from dfplan.model.backbones.base import BatchInvariantLinear, compute_frequencies, sinusoidal_embedding
from dfplan.model.backbones.transformer import Transformer, attend, compute_rotation, make_causal_mask, rotate


def inputs(config, batch=2, num_tokens=4):
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(batch, 2 + num_tokens, config.token_dim, generator=generator)
    return noisy, torch.randint(config.num_levels + 1, noisy.shape[:2], generator=generator)


def test_a_sequence_may_be_shorter_than_the_longest(tiny_config):
    backbone = Transformer(tiny_config)
    noisy, levels = inputs(tiny_config, num_tokens=1)
    assert backbone(noisy, levels)[0].shape == noisy.shape


def test_a_sequence_longer_than_the_longest_is_refused(tiny_config):
    with pytest.raises(ValueError, match="7 tokens is longer than the model's 6"):
        Transformer(tiny_config)(*inputs(tiny_config, num_tokens=tiny_config.num_tokens + 1))


def test_a_causal_backbone_sees_no_future_token(tiny_config):
    noisy, levels = inputs(tiny_config)
    changed = noisy.clone()
    changed[:, -1] += 1
    for causal in (True, False):
        backbone = Transformer(replace(tiny_config, causal=causal)).eval()
        same = torch.equal(backbone(noisy, levels)[0][:, :-1], backbone(changed, levels)[0][:, :-1])
        assert same == causal


def test_the_level_of_a_token_matters(tiny_config):
    backbone = Transformer(tiny_config).eval()
    noisy, levels = inputs(tiny_config)
    assert not torch.allclose(backbone(noisy, levels)[0], backbone(noisy, levels.flip(0))[0])


def test_level_embeddings_begin_with_the_sine_of_the_level_itself():
    embedding = sinusoidal_embedding(torch.tensor([0, 1, 2]), compute_frequencies(2, max_period=100.0))
    assert embedding.shape == (3, 4)
    assert embedding[1, 0] == pytest.approx(0.84147, abs=1e-4) and embedding[0, 2] == 1


def test_the_product_of_rotated_queries_and_keys_depends_on_their_distance_in_time_only():
    torch.manual_seed(0)
    query, key = torch.randn(8).expand(6, 8), torch.randn(8).expand(6, 8)
    rotation = compute_rotation(torch.arange(6), 8)
    products = rotate(query, rotation) @ rotate(key, rotation).T  # (time of query, time of key)
    torch.testing.assert_close(products[1:, 1:], products[:-1, :-1])
    assert not torch.allclose(products[0, 0], products[0, 1])


@pytest.mark.parametrize("sizes", [[1] * 8, [3, 5], [1, 2, 5], [7, 1]])
def test_cached_and_uncached_predictions_of_a_causal_transformer_are_equal(tiny_config, sizes):
    torch.manual_seed(0)
    backbone = Transformer(replace(tiny_config, causal=True, depth=2, num_tokens=6)).eval()
    noisy, levels = inputs(tiny_config, batch=3, num_tokens=6)
    whole, _ = backbone(noisy, levels)
    memory, chunks = None, []
    for noisy_chunk, levels_chunk in zip(noisy.split(sizes, dim=1), levels.split(sizes, dim=1), strict=True):
        x0, memory = backbone(noisy_chunk, levels_chunk, memory, keep=noisy_chunk.shape[1])
        chunks.append(x0)
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, rtol=0, atol=1e-5)
    assert memory.time == 8
    assert [part.shape for part in memory.state] == [(3, 2, 8, 8)] * 4  # keys and values of two blocks, eight tokens


@pytest.mark.parametrize("fine_frequencies", [0, 3])
def test_the_memory_contains_only_the_tokens_to_keep(tiny_config, fine_frequencies):
    torch.manual_seed(0)
    backbone = Transformer(replace(tiny_config, causal=True, fine_frequencies=fine_frequencies)).eval()
    noisy, levels = inputs(tiny_config)
    for kept in (1, 2, 3):
        whole, memory = backbone(noisy, levels, keep=kept)
        assert memory.time == kept and [part.shape[2] for part in memory.state] == [kept, kept]
        later, same = backbone(noisy[:, kept:], levels[:, kept:], memory)
        assert same is memory
        torch.testing.assert_close(later, whole[:, kept:], rtol=0, atol=1e-5)


def test_fine_frequencies_embed_goal_and_start_but_not_planned_tokens(tiny_config):
    torch.manual_seed(0)
    backbone = Transformer(replace(tiny_config, fine_frequencies=3)).eval()
    noisy, levels = inputs(tiny_config)
    embedded = backbone.embed(noisy, levels, seen=0)
    torch.nn.init.zeros_(backbone.embed_fine.weight)
    differ = (embedded != backbone.embed(noisy, levels, seen=0)).any(dim=-1)
    assert differ.tolist() == [[True, True, False, False, False, False]] * 2


def test_a_transformer_without_a_causal_mask_has_no_memory(tiny_config):
    noisy, levels = inputs(tiny_config)
    assert Transformer(tiny_config)(noisy, levels)[1] is None
    _, memory = Transformer(replace(tiny_config, causal=True))(noisy, levels, keep=1)
    for attempt in ({"memory": memory}, {"keep": 1}):
        with pytest.raises(ValueError, match="not causal"):
            Transformer(tiny_config)(noisy, levels, **attempt)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seen", [0, 3])
def test_attention_on_cpus_equals_the_fused_kernel(precision, seen):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, time, 8, dtype=precision) for time in (5, seen + 5, seen + 5))
    mask = make_causal_mask(seen + 5)[seen:]
    assert (mask == 0).sum(dim=1).tolist() == [seen + count for count in range(1, 6)]
    for given in (mask, None):
        fused = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=None if given is None else given.to(precision)
        )
        tolerance = 1e-5 if precision == torch.float32 else 2e-2
        torch.testing.assert_close(attend(query, key, value, given), fused, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (2, 3), (1, 40)])
def test_the_output_of_a_linear_layer_is_bit_equal_for_few_and_many_rows(batch, time):
    torch.manual_seed(0)
    layer = BatchInvariantLinear(70, 128).eval()
    features = torch.randn(50, 2 * time, 70)[:, time:]  # parts of longer sequences
    together = layer(features)
    assert torch.equal(layer(features[7 : 7 + batch]), together[7 : 7 + batch])
    torch.testing.assert_close(together, functional.linear(features, layer.weight, layer.bias))
