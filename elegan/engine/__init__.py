"""Carrying games out: turns, the running average, the loop, run directories."""
