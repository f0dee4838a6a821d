"""A Kubernetes cluster for tests: fake and real API servers, charts, images, deployments."""
