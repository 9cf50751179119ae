"""Recordings: their segments, training windows, faster re-executions, and the cost to go estimated from them."""
