"""A step of training: the loop, the optimiser, averages, devices and precision, several processes, and the speed."""
