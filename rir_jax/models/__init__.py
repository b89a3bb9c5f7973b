"""The networks: streams, layers, blocks, network, and the zoo that names them."""
