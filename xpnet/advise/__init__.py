"""What a training step takes on a GPU that is not there, predicted from counts and a profile of that GPU."""
