"""Files that tests hand to optbench: what they import need not be there, and they hold no tests."""

collect_ignore_glob = ["models/*"]
