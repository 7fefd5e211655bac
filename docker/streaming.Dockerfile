# The streaming worker and the shop.
#   docker build -f docker/streaming.Dockerfile -t streaming .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p streaming

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* && useradd --system --uid 10001 streaming
COPY --from=build /src/target/release/streaming /usr/local/bin/streaming
USER 10001
ENTRYPOINT ["streaming"]
CMD ["worker"]
