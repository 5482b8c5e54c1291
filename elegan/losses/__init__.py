"""What players lower: objectives, and penalties on the discriminator's gradient."""
