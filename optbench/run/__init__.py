"""One execution of a suite: lanes, blocks, results on disk."""
