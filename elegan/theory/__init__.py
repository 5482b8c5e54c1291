"""The theory, computed: demonstrations that give numbers and a figure, and divergences read off trained discriminators."""
