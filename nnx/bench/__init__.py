"""`nnx bench`: how fast this machine trains, on which backend, against its own limits and other libraries."""
