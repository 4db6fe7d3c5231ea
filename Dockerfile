# syntax=docker/dockerfile:1
# One image for the gateway, the endpoint picker, body-based routing, the LoRA syncer and the simulator:
#   docker build -t REGISTRY/headgate:0.1.0 .
#   docker build --build-arg EXTRAS="kubernetes" -t REGISTRY/headgate:0.1.0 .     # fewer of requirements/NAME.txt
# docs/deploy.md says what of this was checked, and how.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRAS="envoy kubernetes kv-events"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements requirements
# What is installed is what is pinned, by its hash, and nothing is built from source: there is no compiler.
RUN for name in core ${EXTRAS}; do \
      pip install --require-hashes --no-deps --only-binary=:all: --target /app -r "requirements/$name.txt" || exit 1; \
    done && \
    pip install --require-hashes --no-deps --only-binary=:all: -r requirements/build.txt -r requirements/core.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Bytecode now: later there is nowhere to write it.
RUN pip install --no-build-isolation --no-deps --no-index --target /app . && \
    python -m compileall -q -j 0 /app

# Python and its libraries, certificates, and no shell; the same minor version, by the same libc.
FROM gcr.io/distroless/python3-debian12:nonroot
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /app /app
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
# The only place that is written to is /tmp: mount an emptyDir there, and the root file system can be read-only.
WORKDIR /tmp
EXPOSE 8080 8443 9002 9003 9004 9005 9090
ENTRYPOINT ["/usr/bin/python3", "-m", "headgate"]
CMD ["--help"]
