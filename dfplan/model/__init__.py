"""The Diffusion Forcing model: tokens, noise levels, loss, and the networks (backbones)."""
