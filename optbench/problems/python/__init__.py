"""Problems made of Python functions: how they are called, and where their gradients come from."""
