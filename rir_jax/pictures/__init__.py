"""Pictures for people: learning curves, example images, mistakes."""
