"""Programs for developers: the development cluster, container images, dashboard assets."""
