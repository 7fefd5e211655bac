# The orchestrator: scheduler, worker and pages, with dbt beside it for the load DAG.
#   docker build -f docker/streamcommerce.Dockerfile -t streamcommerce .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV SQLX_OFFLINE=true
RUN cargo build --release --locked -p dags --bin streamcommerce

FROM python:3.13-slim-bookworm
COPY dbt/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt && rm /tmp/requirements.txt \
    && useradd --system --uid 10001 --home-dir /var/lib/streamcommerce --create-home streamcommerce
COPY --from=build /src/target/release/streamcommerce /usr/local/bin/streamcommerce
COPY dbt /usr/share/streamcommerce/dbt
ENV STREAMCOMMERCE_DBT_PROJECT=/usr/share/streamcommerce/dbt \
    STREAMCOMMERCE_DBT_STATE=/var/lib/streamcommerce/dbt \
    STREAMCOMMERCE_DBT_TARGET=prod
USER 10001
EXPOSE 8080
ENTRYPOINT ["streamcommerce"]
CMD ["standalone"]
