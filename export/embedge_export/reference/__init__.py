"""What a bundle is compared with: the equations in numpy, and the values inside a graph."""
