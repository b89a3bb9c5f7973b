"""What people look at: pictures of runs, and analyses of trained networks."""
