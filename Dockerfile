# syntax=docker/dockerfile:1
# The program and Tesseract, and nothing else that it does not need.
#
#   docker build -t visiongate .
#   docker run --rm -i -e MISTRAL_API_KEY -v "$PWD:$PWD:ro" -w "$PWD" visiongate mcp       an MCP client starts this
#   docker run --rm -p 127.0.0.1:8765:8765 visiongate serve                                a service: see the README
#
# Both stages are of one Debian, because the program uses the C library of the one that it was built on.
# The compiler is the oldest that Cargo.toml promises to work with.
ARG RUST_VERSION=1.92
ARG DEBIAN=trixie

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
# The allocator is C, built by make.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# What was compiled before is found again, even when other files have changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin visiongate \
    && install -D target/release/visiongate /out/visiongate

FROM debian:${DEBIAN}-slim
# The account that publishes: the MCP registry looks here for the name that it stands under there.
ARG OWNER=nobody
LABEL org.opencontainers.image.title="visiongate" \
      org.opencontainers.image.description="One vision tool for every MCP client, any vision model behind it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="https://github.com/${OWNER}/visiongate" \
      io.modelcontextprotocol.server.name="io.github.${OWNER}/visiongate"
# Versions of packages are Debian's: it keeps only the newest, so a pinned one would soon not be found.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tesseract-ocr tesseract-ocr-eng \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin visiongate
COPY --from=build /out/visiongate /usr/local/bin/visiongate
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/visiongate/
# By number, so that orchestrators can see that it is not root.
USER 10001:10001
WORKDIR /home/visiongate
ENV HOME=/home/visiongate \
    VISIONGATE_SERVER__LISTEN=0.0.0.0:8765
EXPOSE 8765
# No HEALTHCHECK: over standard input and output there is nothing to ask, and orchestrators ask /healthz and /readyz.
STOPSIGNAL SIGTERM
ENTRYPOINT ["visiongate"]
CMD ["mcp"]
