FROM rust:1.95-slim-bookworm AS build
WORKDIR /holdfast
COPY . .
# What was downloaded and compiled stays with the builder, not with the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/holdfast/target \
    cargo build --locked --release --bin holdfast && \
    cp target/release/holdfast /usr/local/bin/

FROM debian:bookworm-slim
# The certificates are for brokers that are reached over TLS.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/holdfast /usr/local/bin/
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
# No shell in between: the worker itself gets the signal to finish.
ENTRYPOINT ["holdfast"]
CMD ["worker"]
