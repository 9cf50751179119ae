"""A backbone for tests that know the exact prediction."""

import torch


class Exact(torch.nn.Module):
    """A backbone that computes the exact prediction, and remembers nothing."""

    def __init__(self, predict_x0):
        super().__init__()
        self.predict_x0 = predict_x0

    def forward(self, noisy, levels, memory=None, keep=0):
        return self.predict_x0(noisy, levels), None
