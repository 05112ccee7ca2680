"""An implementation of the textbook's training that shares no code with the package.

The equations are those of K. Saito, "Deep Learning from Scratch" (O'Reilly Japan, 2016), chapters
4 to 6, written with NumPy in float64: a dictionary of parameters, layer objects, one optimizer
after the other. The package is checked against it, so it imports nothing from the package.
"""
