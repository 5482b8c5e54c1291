"""Networks: building blocks that know nothing of games, data or training."""
