"""What can be run: the walk, one training, a published result, a model card."""
