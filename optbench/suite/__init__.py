"""What is asked for: suites as TOML, flags and Python values, resolved to frozen settings."""
