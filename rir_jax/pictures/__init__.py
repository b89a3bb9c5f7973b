"""What people look at: learning curves, example images, mistakes."""
