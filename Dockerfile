# One image for every part: `docker build -t b1-streams .`; the command says which part it is.
# Tags are exact versions; a release pins them by digest (`docker buildx imagetools inspect`) and is rebuilt weekly.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /src
COPY requirements.lock ./
# Wheels only: what is installed is what the lock's hashes name, and no compiler is needed.
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
COPY schemas ./schemas
COPY connectors ./connectors
COPY streams ./streams
RUN /opt/venv/bin/pip install --no-deps . && /opt/venv/bin/pip uninstall --yes pip setuptools

FROM python:3.11.13-slim-bookworm
LABEL org.opencontainers.image.title="b1-streams"
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
