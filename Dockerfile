# One image for the engine's parts: API server (with the JSON-RPC bridge), scheduler, dag-processor
# and triggerer. compose.yaml starts them, with MongoDB, PostgreSQL and an HTCondor pool beside them.
FROM debian:trixie-slim AS base

# Jobs run as ee2jobs. The engine, ee2, is in its group, to hand it the jobs' tickets.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --no-create-home ee2jobs \
    && useradd --system --create-home --home-dir /var/lib/ee2 --groups ee2jobs ee2 \
    && install -d -o ee2 -g ee2 /srv/ee2/artifacts /srv/ee2/logs \
    && install -d -o ee2 -g ee2jobs -m 2770 /srv/ee2/stage

WORKDIR /opt/ee2
COPY requirements.txt ./
RUN python3 -m venv /opt/venv \
    && sed -n '/^uv==/,/[^\\]$/p' requirements.txt > /tmp/uv.txt \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/uv.txt \
    && /opt/venv/bin/uv pip install --no-cache --python /opt/venv/bin/python \
       --no-deps --require-hashes -r requirements.txt \
    && rm /tmp/uv.txt

# The dashboard's files; Node.js is one of the Python packages.
FROM base AS dashboard
COPY ee2_cli ee2_cli
COPY plugins/dashboard plugins/dashboard
RUN /opt/venv/bin/python -c "from ee2_cli import dashboard; dashboard.build(print)"

FROM base AS engine
COPY airflow.cfg client_groups.yaml ./
COPY ee2_jobs ee2_jobs
COPY ee2_operators ee2_operators
COPY kbase_services kbase_services
COPY api_bridge api_bridge
COPY ee2_cli ee2_cli
COPY ee2_client ee2_client
COPY dags dags
COPY plugins plugins
COPY --from=dashboard /opt/ee2/plugins/dashboard/dist plugins/dashboard/dist
COPY runner runner
COPY apps apps

# What `status` tells: docker compose build --build-arg GIT_COMMIT=$(git rev-parse HEAD)
ARG GIT_COMMIT=
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ee2 \
    AIRFLOW_HOME=/var/lib/ee2/airflow \
    AIRFLOW_CONFIG=/opt/ee2/airflow.cfg \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/ee2/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/ee2/plugins \
    AIRFLOW__EE2__GIT_COMMIT=$GIT_COMMIT
USER ee2

# An HTCondor pool of one machine, for trying the parts together. A real pool replaces it.
FROM engine AS pool
USER root
# Slim images leave documentation out; the example reads are filed there.
RUN echo 'path-include=/usr/share/doc/bowtie2*' > /etc/dpkg/dpkg.cfg.d/ee2 \
    && apt-get update \
    && apt-get install -y --no-install-recommends minicondor bowtie2 samtools bowtie2-examples \
    && rm -rf /var/lib/apt/lists/*
