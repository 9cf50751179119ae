"""Runs agents in episodes, and computes their scores and times with intervals."""
