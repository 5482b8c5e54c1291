"""The rules of games: who moves when, and on which loss. A variant in `gans` is a rule with networks and numbers."""
