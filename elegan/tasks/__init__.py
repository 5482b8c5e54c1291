"""What people do: train, plan, sample, list. The public functions and the commands are the same."""
