"""Worlds that are made for single studies: a maze for memory, a maze for chance, and a Gaussian process."""
