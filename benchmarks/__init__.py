"""Evaluates agents: the evaluation loop and statistics, reports and pictures, and the studies (one file each)."""
