# syntax=docker/dockerfile:1
# docker build -t streamforge . ; both stages are Debian 12, so that the program finds the FFmpeg it was linked with.

FROM rust:1.95.0-slim-bookworm AS builder
WORKDIR /src
# The script knows what a build needs. With nothing but it copied, the layer is built again only when the needs change.
COPY dev ./
COPY pipeline/libtorch ./pipeline/libtorch
COPY pipeline/page/build.sh ./pipeline/page/build.sh
RUN ./dev needs && rm -rf /var/lib/apt/lists/*
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    ./dev build && install -D -t /out/bin target/release/streamforge target/release/streamforge-ml \
    && install -D -t /out/lib/streamforge .dev/libtorch/lib/*

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libavcodec59 libavdevice59 libavfilter8 libavformat59 libavutil57 libssl3 libswresample4 \
        libswscale6 libzstd1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/streamforge --create-home --shell /usr/sbin/nologin streamforge
# The program, the one that computes models, and the libtorch that this one looks for.
COPY --from=builder /out /usr/local
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/streamforge/

USER 10001:10001
WORKDIR /var/lib/streamforge
# The root file system may be read-only: what is written goes to the data folder and to /tmp.
VOLUME /var/lib/streamforge
ENV STREAMFORGE_LISTEN=0.0.0.0:8080 \
    STREAMFORGE_OPS_LISTEN=0.0.0.0:9464 \
    STREAMFORGE_DATA=/var/lib/streamforge \
    STREAMFORGE_LOG_FORMAT=json
EXPOSE 8080 9464
# Alive, not ready: a container whose doors are away must not be killed for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
STOPSIGNAL SIGTERM
# Decoders are children; somebody has to reap those whose parent went away.
ENTRYPOINT ["tini", "--", "streamforge"]
CMD ["up"]
