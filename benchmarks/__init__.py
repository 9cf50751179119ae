"""Judges agents: the one evaluation loop, statistics, reports, pictures and the commands around them."""
