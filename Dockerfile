FROM python:3.13-slim-trixie AS build

ARG VERSION=0.2.0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The dependencies, in a layer that changes only with the lock files.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/metperf \
 && /opt/metperf/bin/pip install --require-hashes -r requirements-build.lock \
 && /opt/metperf/bin/pip install --no-build-isolation --require-hashes -r requirements.lock \
        --report installed.json \
 && chmod -R a+rX /opt/metperf

COPY pyproject.toml version README.md LICENSE run.py ./
COPY bidsapp bidsapp
COPY scripts/sbom scripts/sbom
# A tag that contradicts the version ends the build. The final image has no pip and no test suites, which
# are a fifth of the size of the libraries. The bill of materials lists what is left, and all modules of
# metperf are imported once to check that nothing is missing.
RUN umask 022 && test "$VERSION" = "$(cat version)" \
 && /opt/metperf/bin/pip install --no-build-isolation --no-deps . \
 && /opt/metperf/bin/pip uninstall --yes setuptools pip \
 && find /opt/metperf/lib -depth -type d -name tests -exec rm -r '{}' + \
 && install -m 755 run.py /opt/metperf/run.py \
 && install -m 644 LICENSE /opt/metperf/LICENSE \
 && /opt/metperf/bin/python scripts/sbom installed.json >/opt/metperf/sbom.cdx.json \
 && cd / && MPLCONFIGDIR=/tmp/mpl NO_ET=1 PYTHONDONTWRITEBYTECODE=1 /opt/metperf/bin/python -c \
"import bidsapp, importlib, pkgutil; \
[importlib.import_module(m.name) for m in pkgutil.walk_packages(bidsapp.__path__, 'bidsapp.')]"


FROM python:3.13-slim-trixie

ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="metperf" \
      org.opencontainers.image.description="Perfusion MRI (IVIM and DCE) of brain tumours under treatment, as a BIDS App" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The metperf maintainers" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"

# One thread per library, because metperf runs one process per core. No bytecode, user packages or
# telemetry; a home folder that any uid can write to, unless another one is mounted.
ENV PATH=/opt/metperf/bin:$PATH \
    METPERF_CONTAINER=metperf:$VERSION \
    HOME=/home/metperf \
    LC_ALL=C.UTF-8 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/metperf-matplotlib \
    NO_ET=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1
RUN mkdir -m 1777 /home/metperf
COPY --from=build /opt/metperf /opt/metperf

# The first process of a container ignores SIGTERM by default; Python ends at SIGINT.
STOPSIGNAL SIGINT
ENTRYPOINT ["/opt/metperf/run.py"]
