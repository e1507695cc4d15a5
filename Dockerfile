# One image for every part: `docker build -t b1-streams .`; the command says which part it is.
# `--target demo` adds the simulators and the demo's feed, for the profile `demo` of docker-compose.yml.
# Tags are exact versions; a release pins them by digest (`docker buildx imagetools inspect`) and is rebuilt weekly.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/venv
WORKDIR /src
COPY requirements-build.lock requirements.lock ./
# What is installed is what the locks' hashes name: wheels, but for faust-streaming, which has none for Linux on arm64. It
# is compiled on every platform, from the sdist of the lock by the tools of the other lock, so that all images have one code.
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
    && /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-binary faust-streaming --no-build-isolation \
        -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas ./schemas
COPY connectors ./connectors
COPY streams ./streams
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip check \
    && /opt/venv/bin/pip uninstall --yes cython setuptools-scm vcs-versioning wheel setuptools pip

FROM python:3.11.13-slim-bookworm AS runtime
LABEL org.opencontainers.image.title="b1-streams" org.opencontainers.image.licenses="Apache-2.0"
# The account owns its home and nothing else; the root file system can be read-only.
RUN groupadd --gid 10001 streams \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/b1-streams --shell /usr/sbin/nologin streams \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/b1-streams \
    && rm -rf /usr/local/lib/python3.11/site-packages/pip /usr/local/lib/python3.11/site-packages/setuptools \
        /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip /usr/local/bin/pip3 /usr/local/bin/pip3.11
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    STREAMS_CONFIG=/var/lib/b1-streams/streams.toml
WORKDIR /var/lib/b1-streams
USER 10001:10001
# The poster drains within 30 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["streams"]
CMD ["up"]

FROM runtime AS demo
COPY lab /opt/lab/lab
ENV PYTHONPATH=/opt/lab

# The last stage is what a build without `--target` makes.
FROM runtime AS production
