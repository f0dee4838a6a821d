"""What is applied to the running cluster: API requests, manifests, images, ingress controller."""
