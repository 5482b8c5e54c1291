"""Exploring what a trained model has learned: walks among its latents, directions in them, and the latents of given images."""
