"""Networks stacked over lanes: layers, losses and initialisers."""
