"""What networks compute with: the convolution and its gradients."""
