"""What computes: NumPy on the CPU or CuPy on a GPU, behind one interface."""
