"""What players lower: objectives, penalties on the discriminator's gradient, and a regulariser of weights."""
