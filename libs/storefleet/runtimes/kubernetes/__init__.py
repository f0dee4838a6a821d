"""Stores on Kubernetes: a namespace each, a Helm release in it, watched until it is ready, proven over HTTP.

`runtime` names the steps and is all that others import. `cluster` is the only door to the client library; what it reads
is made small by `digests`, kept current by `watching` and judged by `diagnosis`. `manifests` and `policies` say what a
namespace holds; `releases` brings the chart in through `helm`.
"""
