"""How plans are drawn from a model: schedules, sequences, the sampler, guidance, roll-outs and the likelihood bound."""
