"""The operations of networks: the convolution and its gradients."""
