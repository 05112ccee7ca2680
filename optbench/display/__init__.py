"""What runs and studies show while they go on: bars in a terminal or a notebook, plain lines."""
